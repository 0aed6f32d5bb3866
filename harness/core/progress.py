"""Declare how progress is shown to a person; :mod:`harness.report.progress` contains the implementations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Progress = Callable[[str], None]
"""Shows in a few words what is being done now."""


class ProgressStage(Protocol):
    """Show one piece of work under way."""

    def describe(self, text: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...


class ProgressReporter(Protocol):
    """Show stages."""

    def stage(self, title: str) -> AbstractContextManager[ProgressStage]: ...
