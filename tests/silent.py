"""A reporter for tests of runs, which read what was kept and not what was shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Silent:
    """A reporter that shows nothing."""

    @contextlib.contextmanager
    def stage(self, _title: str) -> Iterator[Silent]:
        yield self

    def describe(self, _text: str) -> None: ...

    def advance(self, _done: int, _total: int) -> None: ...
