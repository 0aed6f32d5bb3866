"""Keep the phone from sleeping while a run lasts."""

from __future__ import annotations

import contextlib
from contextlib import AsyncExitStack

from pymobiledevice3.exceptions import InvalidServiceError, StartServiceError
from pymobiledevice3.services.power_assertion import PowerAssertionService

from harness.devices.base import Knob
from harness.devices.ios.explained import TROUBLE, is_loss, words_of
from harness.devices.ios.link import Link

KNOB = "stay_awake"
KIND, NAME = "PreventUserIdleSystemSleep", "harness"


class Awake:
    """Hold an assertion that lasts as long as its connection, so that it ends with a harness that dies."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def hold(self, link: Link, seconds: float) -> Knob:
        """Take the assertion for at most ``seconds``; raises only if the phone is lost."""
        await self.drop()
        try:
            service = await self._stack.enter_async_context(PowerAssertionService(await link.lockdown()))
            await self._stack.enter_async_context(service.create_power_assertion(KIND, NAME, seconds))
        except TROUBLE as error:
            await self.drop()
            if is_loss(error):
                raise
            unknown = isinstance(error, (InvalidServiceError, StartServiceError))
            return Knob(name=KNOB, state="unsupported" if unknown else "denied", detail=words_of(error))
        return Knob(name=KNOB, state="applied", detail=KIND)

    async def drop(self) -> None:
        """Let the phone sleep again; may be called again."""
        with contextlib.suppress(*TROUBLE):
            await self._stack.aclose()
        self._stack = AsyncExitStack()
