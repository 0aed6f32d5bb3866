"""Make faults happen on a virtual iPhone when a test orders them, at moments that the services name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from harness.virtual.ios.stream import Connection, Dropped

ACTIONS = ("refuse", "hang", "close", "truncate", "unplug", "slow", "crash", "jetsam", "watchdog", "suspend", "lock")


class Refused(Exception):
    """The service refuses; ``error`` and ``code`` are the phone's for it, None for the service's usual ones."""

    def __init__(self, error: str | None, code: int | None = None) -> None:
        super().__init__(error or "refused")
        self.error = error
        self.code = code


@dataclass
class Fault:
    """Describe one fault: at a moment, after it passed ``after`` times, ``times`` times (None: always)."""

    moment: str
    action: str
    after: int = 0
    times: int | None = 1
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"there is no fault {self.action!r}; there are {', '.join(ACTIONS)}")

    def strikes(self) -> bool:
        """Count one passing of the moment; return whether the fault happens now."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Faults:
    """Hold the faults of one phone. ``outside`` carries out those of the whole phone (unplugging, ending an app)."""

    def __init__(self, outside: Callable[[Fault], Awaitable[None]]) -> None:
        self._faults: list[Fault] = []
        self._outside = outside
        self._released = asyncio.Event()
        self.struck: list[str] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()
        self.release()

    def release(self) -> None:
        """End everything that hangs, as if its connection had ended."""
        self._released.set()
        self._released = asyncio.Event()

    async def at(self, moment: str, connection: Connection | None = None) -> None:
        """Let the first fault for this moment happen. Raises Refused, or Dropped if the connection ends."""
        fault = next((fault for fault in self._faults if fault.moment == moment and fault.strikes()), None)
        if fault is not None:
            self.struck.append(f"{moment} {fault.action}")
            await self._do(fault, connection)

    async def _do(self, fault: Fault, connection: Connection | None) -> None:
        match fault.action:
            case "refuse":
                raise Refused(fault.details.get("error"), fault.details.get("code"))
            case "hang":
                await self._released.wait()
                raise Dropped
            case "slow":
                await asyncio.sleep(float(fault.details.get("seconds", 1.0)))
            case "close":
                raise Dropped
            case "truncate":
                if connection is not None:
                    connection.truncate_next = True
            case _:
                await self._outside(fault)
                if fault.action == "unplug":
                    raise Dropped
