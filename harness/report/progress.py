"""Show progress to a waiting person: a spinner or bar on a terminal, a few plain lines elsewhere.

Work that ends within two seconds leaves no trace.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from harness.core.text import shown_line

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0


class Stage:
    """Show one piece of work under way."""

    def __init__(self, title: str, show: Callable[[str, int | None, int | None], None]) -> None:
        self.title = title
        self.began = time.monotonic()
        self._show = show

    def describe(self, text: str) -> None:
        """Show what is being done now."""
        self._show(text, None, None)

    def advance(self, done: int, total: int) -> None:
        self._show("", done, total)


class TerminalProgress:
    """Show stages on ``stream``. ``uncaptured`` is the context for showing while standard output is captured.

    ``who`` is named before every line, and no bar is drawn: several such reporters share a stream.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        uncaptured: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        ensure_newline: Callable[[], None] = lambda: None,
        who: str | None = None,
    ) -> None:
        self._stream = stream
        self._who = who
        self._uncaptured = uncaptured
        self._ensure_newline = ensure_newline

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Show the work in the body."""
        dumb = os.environ.get("TERM") in ("dumb", "unknown")
        terminal = self._stream.isatty() and not dumb and self._who is None
        with self._uncaptured():
            with self._on_terminal(title) if terminal else self._on_lines(title) as stage:
                yield stage
            taken = time.monotonic() - stage.began
            if taken > QUIET_SECONDS:
                self._line(f"{title}: {taken:.0f} s")

    def _line(self, text: str) -> None:
        self._ensure_newline()
        text = shown_line(f"{self._who}: {text}" if self._who else text)
        self._stream.write(f"harness: {text}\n")
        self._stream.flush()

    @contextlib.contextmanager
    def _on_lines(self, title: str) -> Iterator[Stage]:
        last = began = time.monotonic()
        printed = False

        def show(text: str, done: int | None, total: int | None) -> None:
            nonlocal last, printed
            now = time.monotonic()
            counted = done is not None
            # The first text shows that real work begins. Later texts only show that it continues.
            first = not counted and not printed
            printed = printed or not counted
            if not first and (now - began < QUIET_SECONDS or now - last < LINE_SECONDS):
                return
            last = now
            self._line(f"{title}: {done} of {total}" if counted else f"{title}: {text}")

        yield Stage(title, show)

    @contextlib.contextmanager
    def _on_terminal(self, title: str) -> Iterator[Stage]:
        self._ensure_newline()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(file=self._stream), transient=True) as progress:
            task = progress.add_task(shown_line(title), total=None)

            def show(text: str, done: int | None, total: int | None) -> None:
                if done is not None:
                    progress.update(task, completed=done, total=total)
                else:
                    progress.update(task, description=shown_line(f"{title}: {text}"))

            yield Stage(title, show)
