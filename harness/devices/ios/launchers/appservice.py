"""Launch on iOS 17 and newer: CoreDevice's app service through the tunnel, with a socket for the app's output."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pymobiledevice3.exceptions import CoreDeviceError
from pymobiledevice3.remote.core_device.app_service import AppServiceService
from pymobiledevice3.remote.core_device.open_stdio_socket import OpenStdioSocketService
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService

from harness.devices.ios.apps import installed
from harness.devices.ios.launchers.started import SIGKILL, Ended, Started
from harness.devices.ios.link import Link

GONE_SECONDS = 5.0
POLL_SECONDS = 0.1
ASK_SECONDS = 5.0


class AppServiceApp(Started):
    """Run an app; neither exit status nor signal is reported."""

    def __init__(self, rsd: RemoteServiceDiscoveryService, stdio: OpenStdioSocketService) -> None:
        super().__init__()
        self._rsd = rsd
        self._stdio = stdio

    async def _follow(self) -> Ended:
        while data := await self._stdio.read(2**16):
            # A pseudoterminal in between changes line ends.
            self._take(data.replace(b"\r\n", b"\n"))
        # The socket also ends when the tunnel breaks, and an app may close its output and run on.
        until = asyncio.get_running_loop().time() + GONE_SECONDS
        while await self._runs():
            if asyncio.get_running_loop().time() > until:
                return Ended(lost="the app closed its output and runs on")
            await asyncio.sleep(POLL_SECONDS)
        return Ended()

    async def _runs(self) -> bool:
        return self.pid is not None and await asyncio.wait_for(_runs(self._rsd, self.pid), ASK_SECONDS)

    async def kill(self) -> None:
        if self.pid is not None:
            await _end(self._rsd, self.pid)


async def launch(link: Link, bundle_id: str, arguments: list[str]) -> AppServiceApp:
    """Start the app; one that already runs is ended first."""
    rsd = await link.rsd()
    stdio, apps = OpenStdioSocketService(rsd), AppServiceService(rsd)
    app = AppServiceApp(rsd, stdio)
    try:
        await app._stack.enter_async_context(stdio)
        await app._stack.enter_async_context(apps)
        answer: Any = await apps.launch_application(
            bundle_id, arguments, kill_existing=True, stdio_identifier=stdio.identifier
        )
        try:
            app.pid = int(answer["processToken"]["processIdentifier"])
        except (KeyError, TypeError, ValueError) as error:
            raise CoreDeviceError(f"the launch was answered without a process: {answer}") from error
    except BaseException:
        await app.close()
        raise
    app._begin()
    return app


async def end(link: Link, pid: int) -> None:
    """End a process whose launch has been lost, if it still runs."""
    await _end(await link.rsd(), pid)


async def end_app(link: Link, bundle_id: str) -> bool:
    """End the app, also one that others started, and wait until it is gone; return whether it ran."""
    app = await installed(link, bundle_id)
    if app is None:
        return False
    rsd = await link.rsd()
    # A phone lists /private/var where another service has /var: the folder of the installation is unique.
    place = PurePosixPath(app.path, app.executable).parts[-3:]
    async with AppServiceService(rsd) as apps:
        running = [one for one in await apps.list_processes() if _executable(one).parts[-3:] == place]
    for process in running:
        pid = int(process["processIdentifier"])
        await _end(rsd, pid)
        until = asyncio.get_running_loop().time() + GONE_SECONDS
        while await _runs(rsd, pid) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(POLL_SECONDS)
    return bool(running)


def _executable(process: dict[str, Any]) -> PurePosixPath:
    url = process.get("executableURL")
    return PurePosixPath(unquote(urlsplit(str(url.get("relative", "")) if isinstance(url, dict) else "").path))


async def _end(rsd: RemoteServiceDiscoveryService, pid: int) -> None:
    if await _runs(rsd, pid):
        async with AppServiceService(rsd) as apps:
            await apps.send_signal_to_process(pid, SIGKILL)


async def _runs(rsd: RemoteServiceDiscoveryService, pid: int) -> bool:
    """Return whether a process runs. Each question opens a connection, because a phone may answer only one on it."""
    async with AppServiceService(rsd) as apps:
        return any(process.get("processIdentifier") == pid for process in await apps.list_processes())
