"""Look up, install and remove apps on the phone. Coroutines over a :class:`~harness.devices.ios.link.Link`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymobiledevice3.exceptions import AfcException, AfcFileNotFoundError, AppInstallError
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.devices.base import OnPush
from harness.devices.ios.bundle import BUILD_KEY, Package
from harness.devices.ios.link import Link
from harness.devices.pushing import PushProgress

STAGING = "PublicStaging/harness"
CHUNK_BYTES = 2**20
_ATTRIBUTES = ["CFBundleIdentifier", "CFBundleExecutable", "CFBundleVersion", "Path", BUILD_KEY]


@dataclass(frozen=True)
class Installed:
    """Describe an app on the phone; ``path`` is its bundle's place there.

    ``build`` is None if the app has none, or if the phone does not report it.
    """

    bundle_id: str
    build: str | None
    version: str
    path: str
    executable: str

    def is_like(self, package: Package) -> bool:
        """Return whether it is exactly that build."""
        return self.build == package.build if self.build is not None else self.version == package.version

    def is_foreign(self, package: Package) -> bool:
        """Return whether it is somebody else's app that has the same identifier by chance."""
        return self.build is None and self.executable != package.executable


async def installed(link: Link, bundle_id: str) -> Installed | None:
    """Return the app with that id, or None if there is none."""
    async with InstallationProxyService(await link.lockdown()) as proxy:
        found = await proxy.lookup({"BundleIDs": [bundle_id], "ReturnAttributes": _ATTRIBUTES})
    app = (found or {}).get(bundle_id)
    if app is None:
        return None
    version, path, executable = (str(app.get(key, "")) for key in ("CFBundleVersion", "Path", "CFBundleExecutable"))
    return Installed(bundle_id, app.get(BUILD_KEY), version, path, executable)


async def install(link: Link, ipa: Path, on_push: OnPush, closing: Callable[[], bool]) -> None:
    """Upload the .ipa and install it, over an older one if there is one; nothing stays in the staging folder.

    Raises AppInstallError with the phone's message, AfcException, or DeviceLost if ``closing`` becomes true.
    """
    lockdown = await link.lockdown()
    path = f"{STAGING}/{ipa.stem}-{time.monotonic_ns():x}.ipa"
    async with AfcService(lockdown) as afc:
        await afc.makedirs(STAGING)
        await _clear(afc)
        try:
            await _upload(afc, ipa, path, PushProgress(ipa.stat().st_size, on_push, closing))
            async with InstallationProxyService(lockdown) as proxy:
                await _command(
                    proxy, {"Command": "Install", "PackagePath": path, "ClientOptions": {"PackageType": "Developer"}}
                )
        finally:
            with contextlib.suppress(AfcException):
                await afc.rm_single(path, force=True)
                await afc.rm_single(STAGING, force=True)


async def uninstall(link: Link, bundle_id: str) -> None:
    """Remove the app with its container; raises AppInstallError."""
    async with InstallationProxyService(await link.lockdown()) as proxy:
        await _command(proxy, {"Command": "Uninstall", "ApplicationIdentifier": bundle_id, "ClientOptions": {}})


async def _clear(afc: AfcService) -> None:
    """Remove what a killed upload left behind; only the holder of the phone's lock uploads."""
    for name in await afc.listdir(STAGING):
        if name not in (".", ".."):
            with contextlib.suppress(AfcFileNotFoundError):
                await afc.rm_single(f"{STAGING}/{name}", force=True)


async def _upload(afc: AfcService, ipa: Path, path: str, progress: PushProgress) -> None:
    handle = await afc.fopen(path, "w")
    try:
        with ipa.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                progress.go_on()
                await afc.fwrite(handle, chunk)
                progress.add(len(chunk))
    finally:
        with contextlib.suppress(AfcException):
            await afc.fclose(handle)


async def _command(proxy: InstallationProxyService, request: dict[str, Any]) -> None:
    """Send a command and wait for its end.

    The library's own draws on the terminal and loses the details of a refusal.
    """
    await proxy.service.send_plist(request)
    while True:
        answer = await proxy.service.recv_plist()
        if error := answer.get("Error"):
            reason = ": ".join(str(part) for part in (error, answer.get("ErrorDescription")) if part)
            raise AppInstallError(reason)
        if answer.get("Status") == "Complete":
            return
