"""Kernels broken on purpose, for tests of what notices it. They compile in their own process (``tests.workers``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.compiler import Archive
from harness.compiler.kernels import product
from harness.core.cache import Cache
from harness.run.builder import CachedBuilder


class OneArchive(CachedBuilder):
    """Compiles into a cache that is thrown away. Runs are of the instrumented archive, too.

    It computes the same, and so each defect is compiled and linked once.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(notice=lambda _text: None, archives=Cache(folder))

    def archive(self, *arguments: Any, **instrumented: Any) -> Archive:
        return super().archive(*arguments, **{**instrumented, "taps": True})


def no_last_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last columns of every product are never computed."""
    whole = product._Emitter.__init__

    def without(self: Any, profile: Any, what: Any, form: Any, panels: int, buffers: Any, cut: bool) -> None:
        whole(self, profile, what, form, max(1, panels - 1), buffers, cut)

    monkeypatch.setattr(product._Emitter, "__init__", without)


def nothing(_monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without it, a test that always finds a mismatch would pass."""
