"""Use one iPhone from ordinary code: every call has a deadline, and raises errors of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from harness.core.errors import HarnessError
from harness.devices.base import Notify
from harness.devices.ios.explained import TROUBLE, explained, is_loss
from harness.devices.ios.link import Link
from harness.devices.ios.loop import LoopThread
from harness.devices.ios.options import Way

CLOSE_SECONDS = 10.0
ASK_SECONDS = 10.0
_T = TypeVar("_T")


class Phone:
    """Call through one :class:`Link`, one call at a time; the next call opens a lost link again."""

    def __init__(self, loop: LoopThread, udid: str, way: Way, *, trust_seconds: float, notify: Notify) -> None:
        self.udid = udid
        self.trust_seconds = trust_seconds
        self._loop = loop
        self._link = Link(udid, way, trust_seconds=trust_seconds, notify=notify)
        self._turn = asyncio.Lock()

    @property
    def label(self) -> str:
        """Return a person's name for the phone."""
        return self._link.label

    @label.setter
    def label(self, name: str) -> None:
        self._link.label = name

    def do(self, action: Callable[[Link], Awaitable[_T]], *, deadline: float, what: str) -> _T:
        """Return ``action``'s result; ``what`` names it in errors.

        Raises DeviceLost, CommandTimeout, DeviceUnauthorized and its kinds, PhoneLocked, DeviceFull, InstallRefused, or
        DeviceError with the phone's own message.
        """
        return self._loop.call(self._do(action, what), deadline=deadline, what=f"{what} on {self.label}")

    def look(self, *, tunnel: bool) -> None:
        """Make sure that the phone answers, through its tunnel too if needed; raises what :meth:`do` raises."""

        async def ask(link: Link) -> None:
            await (await link.lockdown()).get_value(key="ProductVersion")
            if tunnel:
                await link.developer()

        self.do(ask, deadline=ASK_SECONDS, what="looking for the phone")

    def drop_tunnel(self) -> None:
        """Close the tunnel, so that the next use opens a new one: a dead tunnel only shows when it is used."""
        self.do(Link.drop_tunnel, deadline=CLOSE_SECONDS, what="closing the tunnel")

    def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(HarnessError):
            self.do(Link.drop, deadline=CLOSE_SECONDS, what="closing the connection")

    async def _do(self, action: Callable[[Link], Awaitable[_T]], what: str) -> _T:
        async with self._turn:
            try:
                return await action(self._link)
            except TROUBLE as error:
                if is_loss(error):
                    await self._link.drop()
                raise explained(error, what, self.label) from error
            except asyncio.CancelledError:
                # A pending question may still be answered, and then the answer would be taken for another question's.
                await self._link.drop()
                raise
