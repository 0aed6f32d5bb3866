"""pymobiledevice3 as the tests use it: connections to a virtual iPhone over the cable and through its tunnel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from pymobiledevice3 import lockdown
from pymobiledevice3.dtx import dtx_on_invoke
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl, ProcessControlService
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.tunneld.api import get_tunneld_device_by_udid

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual_ios.app import BUNDLE_ID

DEADLINE_SECONDS = 30.0
T = TypeVar("T")


class Client:
    """One host of one phone; ``records`` is where it keeps its pair records."""

    def __init__(self, phone: VirtualIphone, records: Path, host: str = "a-host") -> None:
        self.phone = phone
        self._records = records
        self._host = host

    @contextlib.asynccontextmanager
    async def cable(self, **options: Any) -> AsyncIterator[Any]:
        """lockdownd over usbmuxd, paired."""
        provider = await lockdown.create_using_usbmux(
            serial=self.phone.udid,
            usbmux_address=self.phone.usbmux_address,
            pairing_records_cache_folder=self._records,
            local_hostname=self._host,
            **options,
        )
        try:
            yield provider
        finally:
            await provider.close()

    @contextlib.asynccontextmanager
    async def tunnel(self) -> AsyncIterator[Any]:
        """Remote service discovery through the tunnel."""
        assert self.phone.tunneld is not None
        provider = await get_tunneld_device_by_udid(self.phone.udid, self.phone.tunneld)
        assert provider is not None, "tunneld has no tunnel to it"
        try:
            yield provider
        finally:
            await provider.close()

    def developer(self) -> Any:
        """The way on which this phone has its developer services."""
        return self.tunnel() if self.phone.identity.tunnelled else self.cable()

    def run(self, use: Callable[[Any], Awaitable[T]], way: Callable[[], Any] | None = None) -> T:
        """Do something over a connection of its own, within a deadline."""

        async def within() -> T:
            async with (way or self.cable)() as provider:
                return await use(provider)

        return asyncio.run(asyncio.wait_for(within(), DEADLINE_SECONDS))

    def install(self, ipa: Path) -> None:
        async def install(provider: Any) -> None:
            async with InstallationProxyService(provider) as proxy:
                await proxy.install_from_local(ipa, developer=True)

        self.run(install)

    def uninstall(self, bundle_id: str = BUNDLE_ID) -> None:
        async def uninstall(provider: Any) -> None:
            async with InstallationProxyService(provider) as proxy:
                await proxy.uninstall(bundle_id)

        self.run(uninstall)

    def push(self, path: str, data: bytes) -> None:
        async def push(provider: Any) -> None:
            async with await HouseArrestService.create(provider, BUNDLE_ID, documents_only=True) as files:
                await files.set_file_contents(path, data)

        self.run(push)

    def pull(self, path: str) -> bytes:
        async def pull(provider: Any) -> bytes:
            async with await HouseArrestService.create(provider, BUNDLE_ID, documents_only=True) as files:
                return bytes(await files.get_file_contents(path))

        return self.run(pull)

    def launch(self, **options: Any) -> tuple[str, tuple[int | None, int | None]]:
        """Launch over DVT and wait for the end: the output, and the exit code or the signal."""

        async def launch(provider: Any) -> tuple[str, tuple[int | None, int | None]]:
            async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
                await control.launch(BUNDLE_ID, **options)
                text, (code, signal) = await control.watch()
                return text, (code, signal)

        return self.run(launch, self.developer)


class _Watched(ProcessControlService):
    """pymobiledevice3's own only logs how a process ended."""

    @dtx_on_invoke("processWithPID:terminatedWithExitCode:orCrashingSignal:")
    async def _on_process_terminated(self, _pid: int, code: int | None, signal: int | None) -> None:
        await self.output_events.put([None, code, signal])


class WatchedControl(ProcessControl):
    """DVT's process control with the end of the process."""

    async def output(self) -> str:
        """The next piece of output."""
        return str((await self.service.output_events.get())[0])

    async def watch(self) -> tuple[str, tuple[int | None, int | None]]:
        """All further output, and how the process ended."""
        text = ""
        while (event := await self.service.output_events.get())[0] is not None:
            text += event[0]
        _, code, signal = event
        return text, (code, signal)


# The library infers the class from a type parameter, and a subclass of a subclass has none.
WatchedControl._inferred_service_class = _Watched
