"""Run an event loop in a thread, so that asynchronous calls become ordinary ones with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from harness.devices.errors import CommandTimeout

CANCEL_SECONDS = 5.0
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class LoopThread:
    """Run the loop from construction to :meth:`stop`; calls come from any other thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note)
        self._thread = threading.Thread(target=self._run, name="harness iOS", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, _T], *, deadline: float, what: str) -> _T:
        """Return the coroutine's result; raises what it raises, or CommandTimeout after ``deadline`` seconds.

        Whatever ends the waiting, Ctrl-C included, the coroutine is cancelled and has ended, as far as it allows.
        """
        future = asyncio.run_coroutine_threadsafe(_bounded(coroutine, deadline, what), self._loop)
        try:
            # The loop cannot cancel a call that blocks the loop itself.
            return future.result(deadline + CANCEL_SECONDS)
        except FutureTimeout:
            if future.done():
                raise  # the coroutine raised it
            raise CommandTimeout(f"{what} gave no answer within {deadline:g} s") from None
        finally:
            if not future.done():
                future.cancel()
                _wait(future)

    def stop(self) -> None:
        """End the loop and what still runs in it; may be called again."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CANCEL_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=CANCEL_SECONDS))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


@contextlib.contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """Yield a loop thread that lasts as long as the block."""
    thread = LoopThread()
    try:
        yield thread
    finally:
        thread.stop()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that nobody waits for, such as the answers to an unplugged phone.

    Otherwise asyncio would print each of them.
    """
    _log.debug("%s: %r", context.get("message"), context.get("exception"))


async def _bounded(coroutine: Coroutine[Any, Any, _T], deadline: float, what: str) -> _T:
    """Await the coroutine within the deadline.

    This is not asyncio.wait_for: the coroutine's own time-out must stay one.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.wait({task}, timeout=deadline)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    raise CommandTimeout(f"{what} gave no answer within {deadline:g} s")


def _wait(future: Future[Any]) -> None:
    with contextlib.suppress(BaseException):
        future.result(CANCEL_SECONDS)
