"""Manage the apps on a phone: they are installed, upgraded and removed, each with a container of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from harness.virtual.ios import package
from harness.virtual.ios.app import App
from harness.virtual.ios.package import Rejected
from harness.virtual.ios.state import Identity
from harness.virtual.workspace import remove_tree

Moment = Callable[[str], Awaitable[None]]
_FOLDERS = ("Documents", "Library/Caches", "Library/Preferences", "SystemData", "tmp")


class Apps:
    """Manage the apps below ``folder``; a phone's own system apps are not there.

    ``end_app`` ends the running app with a bundle id, and ``event`` records an event.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        *,
        has_room: Callable[[int], bool],
        end_app: Callable[[str], None],
        event: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._identity = identity
        self._has_room = has_room
        self._end_app = end_app
        self._event = event
        self._apps: dict[str, App] = {}
        folder.mkdir(parents=True)

    def get(self, bundle_id: str) -> App | None:
        return self._apps.get(bundle_id)

    def all(self) -> list[App]:
        return [self._apps[name] for name in sorted(self._apps)]

    async def install(self, package_path: Path, at: Moment) -> AsyncGenerator[tuple[str, int], None]:
        """Install or upgrade, yielding each stage and the percent done. Raises Rejected, and what ``at`` raises.

        An existing app keeps its container, as on a phone, whichever of the two was asked for.
        """
        staging = self.folder / f"staging-{uuid.uuid4()}"
        staging.mkdir()
        try:
            yield "CreatingStagingDirectory", 5
            await at("install.begin")
            yield "ExtractingPackage", 15
            size = _size(package_path)
            if not self._has_room(size):
                raise Rejected("NoSpace", f"No space is available on the device: {size} bytes are needed")
            if package_path.is_dir():
                folder = shutil.copytree(package_path, staging / package_path.name)
            else:
                folder = package.unpack(package_path, staging)
            yield "InspectingPackage", 20
            found = package.inspect(folder, self._identity)
            yield "VerifyingApplication", 40
            await at("install.half")
            old = self._apps.get(found.bundle_id)
            _check_upgrade(old, found)
            yield "CreatingContainer", 50
            self._end_app(found.bundle_id)
            container = self._container(old)
            bundle = self.folder / str(uuid.uuid4()).upper() / folder.name
            bundle.parent.mkdir()
            yield "InstallingApplication", 60
            folder.rename(bundle)
            self._apps[found.bundle_id] = App(bundle, container, found.info, found.entitlements)
            if old is not None:
                remove_tree(old.bundle.parent)
            yield "SandboxingApplication", 80
            yield "GeneratingApplicationMap", 90
            kind = "install" if old is None else "upgrade"
            self._event(f"{kind} {found.bundle_id}")
        finally:
            remove_tree(staging)

    def _container(self, old: App | None) -> Path:
        container = self.folder / "data" / str(uuid.uuid4()).upper() if old is None else old.container
        for name in _FOLDERS:
            (container / name).mkdir(parents=True, exist_ok=True)
        return container

    def uninstall(self, bundle_id: str) -> bool:
        """Remove an app with its data, and end it if it runs; return whether it was there."""
        app = self._apps.pop(bundle_id, None)
        if app is None:
            return False
        self._end_app(bundle_id)
        remove_tree(app.bundle.parent)
        remove_tree(app.container)
        self._event(f"uninstall {bundle_id}")
        return True


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return package.unpacked_bytes(path)


def _check_upgrade(old: App | None, new: package.Package) -> None:
    if old is None:
        return
    before, after = (str(each.get("application-identifier", "")) for each in (old.entitlements, new.entitlements))
    if before.split(".")[0] != after.split(".")[0]:
        raise Rejected(
            "MismatchedApplicationIdentifierEntitlement",
            f"Upgrade's application-identifier entitlement string ({after}) does not match installed application's "
            f"application-identifier string ({before}); rejecting upgrade.",
        )
