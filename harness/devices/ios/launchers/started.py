"""A started app, whichever way it was started."""

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
    """``status`` is the exit status, negative for a signal, None where this launcher does not hear of it; ``lost`` says
    why nobody knows whether the app runs on."""

    status: int | None = None
    lost: str | None = None


class Started(ABC):
    """A running app: what it prints is collected, and its end noted, by a task of the loop.

    ``pid`` is None where the launcher does not tell. ``printed`` counts bytes, ``tail`` holds the last of them.
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
        """Let go of the connections, whatever the app does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        with contextlib.suppress(*TROUBLE):
            await self._stack.aclose()
