"""Parity is what notices a wrong kernel: a model with one broken on purpose, compiled, run and judged as users' are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tvm.tirx.script import builder as T

from harness.cache import Cache
from harness.compiler import Archive, CompileRequest, compile_models, front, worker
from harness.compiler.kernels import attention, product
from harness.devices import HostDevice
from harness.maker import CachedMaker, Progress, RunOptions, Variant
from harness.models.checkpoints import Checkpoint
from harness.results import RunVerdict
from harness.session import RunSession

WORDS = "eng-us\tword\twɚd\nfra\toui\twi\nger\thaus\thaʊ̯s\n"


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


def one_position_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder's step overlooks the last row of what it attends to."""
    whole = attention._attend

    def short(query: Any, row: Any, head: Any, cache: Any, last: Any, *rest: Any) -> None:
        whole(query, row, head, cache, T.max(last - 1, 0), *rest)

    monkeypatch.setattr(attention, "_attend", short)


def nothing(_monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without it, a test that always finds a mismatch would pass."""


@pytest.mark.parametrize("breaks", [nothing, no_last_panel, one_position_short])
def test_a_broken_kernel_fails_parity(
    small_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[pytest.MonkeyPatch], None],
) -> None:
    def in_this_process(_module: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        return worker.handle(request, progress)

    monkeypatch.setattr(front, "run_worker", in_this_process)
    breaks(monkeypatch)
    words = tmp_path / "words.tsv"
    words.write_text(WORDS)
    options = RunOptions(
        checkpoint=str(small_checkpoint.folder),
        words=words,
        repeat=1,
        max_output_len=16,
        results_dir=tmp_path / "results",
    )
    session = RunSession(options, HostDevice(), Silent(), maker=HereMaker(tmp_path / "cache"))
    session.start()
    lines = session.parity("cache")
    summary = session.finish()
    if breaks is nothing:
        assert summary.verdict is RunVerdict.PASS, summary.reasons
    else:
        assert summary.verdict is RunVerdict.FAIL
        assert any(line.verdict.fails for line in lines)
        assert "words differ" in summary.reasons[0]
