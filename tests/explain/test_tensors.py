"""A model of tensors is explained by the same means: a small one of one's own, whole and with a kernel broken."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from harness.cli.app import app, load_commands
from harness.compiler.kernels import product
from harness.compiler.kernels.formats import Format
from harness.compiler.operators import product as product_operator
from harness.devices import HostDevice
from harness.explain import NothingToExplain, explain
from harness.explain.choice import find_subject
from harness.protocol.schema import Precision
from harness.results import ParityLine, Run, RunVerdict, Store, WorkloadFacts
from harness.validate import Verdict
from tests.broken_kernels import no_last_panel
from tests.explain.small_runs import judged, made_here
from tests.silent import Silent

pytestmark = pytest.mark.compiler


@pytest.mark.thorough(keep=["fp32-*"])
@pytest.mark.parametrize(("precision", "verdict"), [("fp32", RunVerdict.PASS), ("int8", RunVerdict.FAIL)])
def test_nothing_departs_where_nothing_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, verdict: RunVerdict
) -> None:
    """The control: without it, a test that always finds something would pass. What int8 rounds fails this model's own
    measure, and is no kernel's fault."""
    builder = made_here(monkeypatch, tmp_path / "cache")
    run = judged(tmp_path / "results", HostDevice(), builder, verdict, precision=precision)
    found = explain(run, item="small/second", builder=builder, device=HostDevice(), reporter=Silent())
    assert (found.name, found.precision, found.reproduced, found.error) == ("small/second", precision, True, None)
    assert not found.departed
    targets = {row.target for row in found.rows if row.own is not None}
    parts = {"aten.split_with_sizes.default", "aten.max_pool2d_with_indices.default"}
    assert targets >= {"aten.relu.default", "aten.gelu.default", "aten._softmax.default", *parts}
    assert (found.coverage.compared, found.coverage.calls) == (len(found.rows) - 1, len(found.rows))


@pytest.mark.thorough
def test_a_wide_layer_with_too_few_bits_is_named_in_an_int8_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bits are right in the layer behind it, whose error is larger."""
    packed = product.pack_product

    def eight_bits(what: product.Product, weight: Any, bias: Any, form: Format) -> Any:
        if form.name == "fp16":
            scale = np.abs(weight).max(axis=0) / 127
            weight = (np.rint(weight / scale) * scale).astype(np.float32)
        return packed(what, weight, bias, form)

    builder = made_here(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(product_operator, "pack_product", eight_bits)
    wide = {"precision": "int8", "keep_wide": ("layers.1",)}
    run = judged(tmp_path / "results", HostDevice(), builder, RunVerdict.FAIL, **wide)  # type: ignore[arg-type]
    found = explain(run, item="small/second", builder=builder, device=HostDevice(), reporter=Silent())
    departing = [row.operators for row in found.rows if row.own is not None and row.own.departs]
    assert [("linear" in names, "linear_1" in names) for names in departing] == [(True, False)]


def test_a_broken_kernel_is_named_here_and_where_its_bundle_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = made_here(monkeypatch, tmp_path / "cache")
    no_last_panel(monkeypatch)
    run = judged(tmp_path / "results", HostDevice(), builder, RunVerdict.FAIL)
    bundle = tmp_path / "failure.zip"
    results = ["--results-dir", str(tmp_path / "results")]
    first = explained("latest", "--device", "host", *results, "--item", "small/second", "--bundle", str(bundle))
    with zipfile.ZipFile(bundle) as inside:
        command = json.loads(inside.read("explain/small_second.json"))["command"]
    assert command == ["harness", "explain", run.run_id, "--item", "small/second", "--device", "host", *results]
    run.folder.rename(tmp_path / "gone")
    again = explained(str(bundle), *results)
    for done in (first, again):
        assert done.exit_code == 1, done.output
        assert done.stdout.startswith("\nsmall/second\nfirst module that diverges: small, layers\n")
        assert "one kernel computes layer_norm, linear, gelu" in done.stdout
        assert "the run's verdict: mismatch" in done.stdout


def explained(*arguments: str) -> Result:
    load_commands()
    return CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False, env={"COLUMNS": "200"})


def stored(folder: Path) -> Run:
    known = {"source": "small.py", "label": "small", "parameters": 0, "items": 1, "compare": "within tolerances"}
    facts = WorkloadFacts.model_validate({**known, "kind": "tensor", "weights_sha256": ""})
    options = {"device": "host", "words": None, "models": ["small.py"]}
    with Store(folder).create(device={"name": "host"}, options=options, workloads={"small": facts}) as writer:
        writer.parity([ParityLine(workload="small", item="first", label="first", verdict=Verdict.EQUAL)])
    return Run(writer.folder)


def test_an_item_or_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    run = stored(tmp_path)
    with pytest.raises(NothingToExplain, match="has no model 'other'; it has small"):
        find_subject(run, "other/first")
    with pytest.raises(NothingToExplain, match="nothing of run"):
        find_subject(run, None)
