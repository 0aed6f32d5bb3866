"""Write notices where a person sees them, although pytest captures what tests print."""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TextIO

import pytest


class Notices:
    """Hold the stream that a person sees. Make it while plugins are configured, since capturing is suspended then."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.stream = sys.stdout
        self.of_threads: TextIO = self.stream

    def open(self, until: ExitStack) -> None:
        """Open another handle of the stream, to which threads may write at any time, until the stack is closed."""
        try:
            with self.uncaptured():
                handle = os.dup(self.stream.fileno())
            self.of_threads = until.enter_context(os.fdopen(handle, "w", encoding="utf-8"))
        except (OSError, io.UnsupportedOperation):
            self.of_threads = self.stream  # pytest runs inside a program without a file there

    def uncaptured(self) -> AbstractContextManager[None]:
        """Suspend capturing. Only the main thread may do this."""
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        context: AbstractContextManager[None] = capture.global_and_fixture_disabled()
        return context

    def ensure_newline(self) -> None:
        """End the line of pytest's progress, if one is begun."""
        terminal: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None:
            terminal.ensure_newline()

    def notice(self, text: str) -> None:
        """Write a line from any thread."""
        if threading.current_thread() is not threading.main_thread():
            self.of_threads.write(f"harness: {text}\n")
            self.of_threads.flush()
            return
        with self.uncaptured():
            self.ensure_newline()
            self.write(f"harness: {text}")

    def write(self, text: str) -> None:
        """Write a line where nothing is captured."""
        self.stream.write(text + "\n")
        self.stream.flush()
