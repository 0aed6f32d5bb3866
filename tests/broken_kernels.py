"""Compiling in this process, where kernels can be broken on purpose, for tests of what notices it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cache import Cache
from harness.compiler import Archive, CompileRequest, compile_models
from harness.compiler.kernels import product
from harness.maker import CachedMaker, Progress, RunOptions, Variant
from harness.models.checkpoints import Checkpoint


class HereMaker(CachedMaker):
    """Compiles in this process, where kernels can be broken, into a cache that is thrown away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(notice=lambda _text: None)
        self.folder = folder

    def archive(
        self,
        options: RunOptions,
        checkpoint: Checkpoint | None,
        variant: Variant,
        progress: Progress,
        *,
        profile: bool = False,
    ) -> Archive:
        assert checkpoint is not None
        assert not profile
        request = CompileRequest(checkpoint, max_output_len=options.max_output_len, kv_cache=variant == "cache")
        return compile_models(request, cache=Cache(self.folder), progress=progress)


class Silent:
    """A narrator that says nothing."""

    @contextlib.contextmanager
    def stage(self, _title: str) -> Iterator[Silent]:
        yield self

    def say(self, _text: str) -> None: ...

    def advance(self, _done: int, _total: int) -> None: ...


def no_last_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last columns of every product are never computed."""
    whole = product._Emitter.__init__

    def without(self: Any, profile: Any, what: Any, form: Any, panels: int, buffers: Any) -> None:
        whole(self, profile, what, form, max(1, panels - 1), buffers)

    monkeypatch.setattr(product._Emitter, "__init__", without)


def nothing(_monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without it, a test that always finds a mismatch would pass."""
