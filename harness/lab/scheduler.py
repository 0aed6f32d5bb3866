"""Connect agents and clients of a lab: Dask's scheduler with a lab's settings."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Scheduler

from harness.core.errors import HarnessError
from harness.devices.base import Notify
from harness.lab.security import DEFAULT_PORT, Certificates, security
from harness.lab.tokens import TokenAnswer, TokenBook
from harness.lab.wire import TOKEN


@dataclass(frozen=True)
class SchedulerOptions:
    """Define where a scheduler listens. ``dashboard`` is the address of Dask's own page."""

    listen: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    certificates: Certificates | None = None
    dashboard: str = "127.0.0.1:0"
    tokens: Path | None = None
    """The list of the clients' tokens; None for a lab that wants none."""


class LabScheduler(Scheduler):
    """Dask's scheduler, which also answers agents' questions about tokens."""

    def __init__(self, tokens: Path | None, **settings: Any) -> None:
        self._book = None if tokens is None else TokenBook(tokens)
        super().__init__(**settings)
        self.handlers[TOKEN] = self._token

    def _token(self, token: str) -> str:
        return (TokenAnswer() if self._book is None else self._book.answer(str(token))).model_dump_json()


class PortTaken(HarnessError):
    """The scheduler cannot listen where it should."""

    cure = "name another --listen or --port, or end what listens there"


async def run_scheduler(options: SchedulerOptions, notify: Notify) -> None:
    """Run a scheduler until SIGTERM or SIGINT; raises PortTaken, and LabMisuse for a wrong list of tokens."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if options.tokens is not None:
        TokenBook(options.tokens).clients()  # so that a list that is none is an error now
    scheduler = LabScheduler(
        options.tokens,
        host=options.listen,
        port=options.port,
        protocol="tls" if options.certificates else "tcp",
        security=security(options.certificates),
        dashboard_address=options.dashboard,
        dashboard=False,
    )
    try:
        await scheduler
    except (OSError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise PortTaken(f"the scheduler cannot listen at {options.listen}:{options.port}: {cause}") from error
    notify(f"the lab's scheduler listens at {scheduler.address}")
    await stop.wait()
    await scheduler.close()
