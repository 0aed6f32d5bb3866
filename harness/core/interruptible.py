"""Do work that calls libraries which do not heed Ctrl-C, so that Ctrl-C is heeded all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

LOOK_SECONDS = 0.1
_T = TypeVar("_T")


def interruptible(work: Callable[[], _T], look: Callable[[], None] = lambda: None) -> _T:
    """Return what ``work`` returns, or raise its error; ``look`` is called here ten times a second meanwhile.

    KeyboardInterrupt is raised at once and leaves the work alone. So it has to be work that may be killed at any time:
    its thread ends with the process.
    """
    results: list[_T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    threading.Thread(target=run, daemon=True).start()
    while not ended.wait(LOOK_SECONDS):
        look()
    look()
    if errors:
        raise errors[0]
    return results[0]
