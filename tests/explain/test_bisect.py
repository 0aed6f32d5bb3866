"""From a word that failed to the kernel that makes it: models broken on purpose, compiled, run and explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cache import Cache
from harness.compiler import Archive, CompileRequest, compile_models, front, worker
from harness.devices import HostDevice
from harness.explain import explain
from harness.maker import Progress, RunOptions, Variant
from harness.models.checkpoints import Checkpoint
from harness.validate import Verdict
from tests.explain.stored import stored
from tests.test_broken_kernel import HereMaker, Silent, no_last_panel, nothing, one_position_short


class TappedMaker(HereMaker):
    """Compiles both archives in this process."""

    def tapped_archive(
        self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress
    ) -> Archive:
        request = CompileRequest(
            checkpoint, max_output_len=options.max_output_len, kv_cache=variant == "cache", taps=True
        )
        return compile_models(request, cache=Cache(self.folder), progress=progress)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(_module: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        return worker.handle(request, progress)

    monkeypatch.setattr(front, "run_worker", in_this_process)


@pytest.mark.parametrize(
    ("breaks", "function", "module", "operator"),
    [
        (nothing, None, None, None),
        (no_last_panel, "encoder", "encoder.attentions.0", "linear"),
        (one_position_short, "decoder_step", "", "attend_memory"),
    ],
)
def test_a_broken_kernel_is_named(
    small_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: None,
    breaks: Callable[[pytest.MonkeyPatch], None],
    function: str | None,
    module: str | None,
    operator: str | None,
) -> None:
    breaks(monkeypatch)
    verdict = Verdict.EQUAL if breaks is nothing else Verdict.MISMATCH
    run = stored(tmp_path / "results", small_checkpoint, Verdict.EQUAL, verdict, comparison="cache")
    maker = TappedMaker(tmp_path / "cache")
    item = "w1" if breaks is nothing else None
    found = explain(run, item=item, maker=maker, device=HostDevice(), narrator=Silent())
    compared = [row for row in found.rows if row.own is not None]
    assert len(compared) > len(found.rows) / 2
    assert (found.function, found.module) == (function, module)
    if operator is not None:
        assert any(operator in name for name in found.operators)
