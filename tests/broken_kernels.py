"""Compiling in this process, where kernels can be broken on purpose, for tests of what notices it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compiler import Archive, BundleRequest, front, worker
from harness.compiler import bundle as bundling
from harness.compiler.kernels import product
from harness.core.cache import Cache
from harness.core.progress import Progress
from harness.run.builder import CachedBuilder


class OneArchive(CachedBuilder):
    """Compiles into a cache that is thrown away. Runs are of the instrumented archive, too.

    It computes the same, and so each defect is compiled and linked once.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(notice=lambda _text: None, archives=Cache(folder))

    def compiled(self, bundle: BundleRequest, progress: Progress) -> Archive:
        g2p = None if bundle.g2p is None else replace(bundle.g2p, taps=True)
        return super().compiled(replace(bundle, g2p=g2p, taps=True), progress)


def compile_here(patch: pytest.MonkeyPatch) -> None:
    """In this process, where kernels can be broken."""

    def in_this_process(_module: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        return worker.handle(request, progress)

    for module in (front, bundling):
        patch.setattr(module, "run_worker", in_this_process)


def no_last_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last columns of every product are never computed."""
    whole = product._Emitter.__init__

    def without(self: Any, profile: Any, what: Any, form: Any, panels: int, buffers: Any) -> None:
        whole(self, profile, what, form, max(1, panels - 1), buffers)

    monkeypatch.setattr(product._Emitter, "__init__", without)


def nothing(_monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without it, a test that always finds a mismatch would pass."""
