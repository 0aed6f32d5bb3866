"""Hold the open connections to one iPhone.

Its methods are coroutines of one loop; :mod:`harness.devices.ios.phone` calls them from ordinary code.
"""

from __future__ import annotations

import contextlib

from packaging.version import Version
from pymobiledevice3.lockdown import UsbmuxLockdownClient
from pymobiledevice3.lockdown_service_provider import LockdownServiceProvider
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService

from harness.devices.base import Notify
from harness.devices.ios.explained import TROUBLE
from harness.devices.ios.options import Way
from harness.devices.ios.pairing import paired
from harness.devices.ios.tunnel import Close, open_tunnel

TUNNELLED = Version("17.0")
"""From this version on, apps are started through a tunnel; files, installing and diagnostics need none."""


class Link:
    """Open connections when they are needed. After a loss, :meth:`drop` lets the next use open them again."""

    def __init__(self, udid: str, way: Way, *, trust_seconds: float, notify: Notify) -> None:
        self.udid = udid
        self.label = f"iPhone {udid}"
        self._way = way
        self._trust_seconds = trust_seconds
        self._notify = notify
        self._lockdown: UsbmuxLockdownClient | None = None
        self._tunnel: tuple[RemoteServiceDiscoveryService, Close] | None = None

    async def lockdown(self) -> UsbmuxLockdownClient:
        """Return the paired lockdown client; raises what pairing raises."""
        if self._lockdown is None:
            self._lockdown = await paired(
                self.udid, self._way, phone=self.label, trust_seconds=self._trust_seconds, notify=self._notify
            )
        return self._lockdown

    async def version(self) -> Version:
        return Version((await self.lockdown()).product_version)

    async def rsd(self) -> RemoteServiceDiscoveryService:
        """Return the services in the tunnel; raises TunnelMissing."""
        if self._tunnel is None:
            self._tunnel = await open_tunnel(self.udid, self._way, self.label)
        return self._tunnel[0]

    async def developer(self) -> LockdownServiceProvider:
        """Return the provider of this iOS's developer services."""
        return await self.rsd() if await self.version() >= TUNNELLED else await self.lockdown()

    async def drop_tunnel(self) -> None:
        if self._tunnel is not None:
            (_, close), self._tunnel = self._tunnel, None
            with contextlib.suppress(*TROUBLE):
                await close()

    async def drop(self) -> None:
        """Close everything; may be called again, and raises nothing."""
        await self.drop_tunnel()
        if self._lockdown is not None:
            lockdown, self._lockdown = self._lockdown, None
            with contextlib.suppress(*TROUBLE):
                await lockdown.close()
