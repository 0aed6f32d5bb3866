"""What the main job needs of whoever shows its progress; :mod:`harness.report.progress` has the real ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Progress = Callable[[str], None]
"""Shows a person what is being done now, in a few words."""


class ProgressStage(Protocol):
    """One piece of work under way."""

    def say(self, text: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...


class ProgressReporter(Protocol):
    """Tells about stages."""

    def stage(self, title: str) -> AbstractContextManager[ProgressStage]: ...
