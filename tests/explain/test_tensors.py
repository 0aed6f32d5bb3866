"""A model of tensors is explained by the same means: a small one of one's own, whole and with a kernel broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cache import Cache
from harness.compiler import Archive, BundleRequest, compile_bundle, front, worker
from harness.compiler import bundle as bundling
from harness.devices import HostDevice
from harness.explain import NothingToExplain, explain
from harness.explain.bundle import opened_bundle, write_bundle
from harness.explain.choice import find_subject
from harness.explain.tensors import ChosenItem
from harness.maker import CachedMaker, Progress, RunOptions
from harness.models.described import UserModel
from harness.results import ModelFacts, ModelParityLine, Run, Store
from harness.validate import Verdict
from tests.broken_kernels import Silent, no_last_panel, nothing

MODEL = """
import torch
from torch import nn
from harness.models.user import ModelSpec


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Conv1d(6, 8, 3, padding=1)
        self.layers = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 50), nn.GELU(), nn.Linear(50, 70))

    def forward(self, x):
        return torch.softmax(self.layers(torch.relu(self.image(x))), -1)


def build():
    torch.manual_seed(0)
    return Small()


def items():
    torch.manual_seed(1)
    return {name: {"x": torch.randn(1, 6, 20)} for name in ("first", "second")}


SPEC = ModelSpec("small", build, {"x": torch.zeros(1, 6, 20)}, items)
"""


class HereMaker(CachedMaker):
    """Compiles in this process, where kernels can be broken, into a cache that is thrown away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(notice=lambda _text: None)
        self.folder = folder

    def say(self, _text: str) -> None: ...

    def tapped_model(self, options: RunOptions, model: UserModel, progress: Progress) -> Archive:
        return compile_bundle(BundleRequest([model], taps=True), cache=Cache(self.folder), progress=progress)


def stored(folder: Path, source: Path, verdict: Verdict, weights: str = "") -> Run:
    known = {"source": str(source), "prefix": "small_", "parameters": 0, "items": 2, "compare": "within tolerances"}
    facts = ModelFacts.model_validate({**known, "weights_sha256": weights})
    options = {"device": "host", "words": None, "models": [str(source)]}
    with Store(folder).create(device={"name": "host"}, options=options, models={"small": facts}) as writer:
        writer.model_parity(
            ModelParityLine(comparison="small", model="small", item=item, verdict=said)
            for item, said in (("first", Verdict.EQUAL), ("second", verdict))
        )
    return Run(writer.folder)


@pytest.mark.parametrize("breaks", [nothing, no_last_panel])
def test_a_broken_kernel_of_ones_own_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: Callable[[pytest.MonkeyPatch], None]
) -> None:
    def in_this_process(_module: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        return worker.handle(request, progress)

    monkeypatch.setattr(bundling, "run_worker", in_this_process)
    monkeypatch.setattr(front, "run_worker", in_this_process)
    breaks(monkeypatch)
    source = tmp_path / "small.py"
    source.write_text(MODEL)
    maker = HereMaker(tmp_path / "cache")
    (model,) = maker.models(RunOptions(models=(str(source),)), maker.say)
    verdict = Verdict.EQUAL if breaks is nothing else Verdict.MISMATCH
    run = stored(tmp_path / "results", source, verdict, model.facts.weights_sha256)
    item = "small/second" if breaks is nothing else None
    found = explain(run, item=item, maker=maker, device=HostDevice(), narrator=Silent())
    assert found.name == "small/second"
    assert found.reproduced
    targets = {row.target for row in found.rows if row.own is not None}
    assert {"aten.relu.default", "aten.gelu.default", "aten._softmax.default"} <= targets
    if breaks is nothing:
        assert not found.departed
        return
    assert found.module is not None
    assert "layers" in found.module
    assert "linear" in found.operators
    path = tmp_path / "failure.zip"
    write_bundle(path, run, found, None)
    with opened_bundle(path) as (elsewhere, name):
        chosen = find_subject(elsewhere, name)
        assert isinstance(chosen, ChosenItem)
        assert (chosen.item, chosen.parity is not None and chosen.parity.verdict) == ("second", Verdict.MISMATCH)


def test_an_item_or_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    run = stored(tmp_path, tmp_path / "small.py", Verdict.EQUAL)
    with pytest.raises(NothingToExplain, match="has no model 'other'; it has small"):
        find_subject(run, "other/first")
    with pytest.raises(NothingToExplain, match="nothing of run"):
        find_subject(run, None)
