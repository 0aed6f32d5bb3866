"""The tunnels to phones with iOS 17: a stand-in for tunneld, and each phone's services behind it."""

from __future__ import annotations

from harness.devices.virtual.ios.phone import Phone


class Tunnels:
    def __init__(self, phones: list[Phone]) -> None:
        self._phones = phones

    async def start(self) -> int | None:
        return None

    def stop(self) -> None:
        pass
