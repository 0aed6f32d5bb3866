"""Follow a started app, however it was started."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass

from harness.devices.ios.explained import TROUBLE, words_of

TAIL_BYTES = 4000
SIGKILL = 9
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """Hold an app's end.

    ``status`` is the exit status, negative for a signal, None if this launcher does not get it. ``lost`` is the reason
    why it is unknown whether the app still runs.
    """

    status: int | None = None
    lost: str | None = None


class Started(ABC):
    """Hold a running app. A task of the loop collects its output and records its end.

    ``pid`` is None if the launcher does not report it. ``printed`` counts bytes, ``tail`` holds the last of them.
    """

    pid: int | None = None

    def __init__(self) -> None:
        self.printed = 0
        self.tail = b""
        self.ended: Ended | None = None
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _follow(self) -> Ended:
        """Collect what the app prints until it has ended."""

    @abstractmethod
    async def kill(self) -> None:
        """End the app, if it still runs; raises what asking for it raises."""

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="harness app")

    async def _watch(self) -> None:
        try:
            self.ended = await self._follow()
        except TROUBLE as error:
            self.ended = Ended(lost=words_of(error))

    def _take(self, data: bytes) -> None:
        self.printed += len(data)
        self.tail = (self.tail + data)[-TAIL_BYTES:]

    async def close(self) -> None:
        """Close the connections, whatever the app does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        with contextlib.suppress(*TROUBLE):
            await self._stack.aclose()
