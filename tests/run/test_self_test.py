"""What an app's self-test wrote, read without trust and kept as a run; the app is a runner that answers as asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import load_commands
from harness.core.cache import Cache
from harness.results import Run, RunDamaged, RunStatus, RunVerdict, Store, Summary
from harness.results.baselines import Baselines, BaselineUnusable
from harness.run.self_test import (
    NoSelfTest,
    OtherModels,
    UnreadableSelfTest,
    app_orders,
    keep_self_test,
    read_results,
)
from tests.fake_models import FakeModels
from tests.run.test_model_runs import run_everything
from tests.silent import Silent

load_commands()
Lines = list[dict[str, Any]]


def written(run: Run, path: Path, change: Callable[[Lines], object] = lambda _lines: None) -> Path:
    """Write what an app would: the run's own records under the app's ids, changed."""
    lines: Lines = []
    for one in app_orders(run):
        for sample in run.samples():
            if sample.order == one.entry.order_id:
                record = sample.record.model_dump(mode="json")
                lines.append(record | ({"order_id": one.order.order_id} if "order_id" in record else {}))
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def kept(run: Run, path: Path, folder: Path, **behaviour: Any) -> tuple[Run, Summary]:
    made = folder / "again"
    made.mkdir(exist_ok=True)
    return keep_self_test(
        run,
        read_results(path, app_orders(run)),
        device=None,
        emulated=False,
        store=Store(run.folder.parent),
        builder=FakeModels(made, **behaviour),
        reporter=Silent(),
        command=[],
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_everything(tmp_path_factory.mktemp("measured"), pair_seconds=0.0)[0]


@pytest.fixture
def run(measured: Run, tmp_path: Path) -> Run:
    """A copy, which a test may change."""
    copied = tmp_path / "results" / measured.run_id
    shutil.copytree(measured.folder, copied)
    return Run(copied)


def test_the_same_answers_pass_and_belong_to_no_baseline(run: Run, tmp_path: Path) -> None:
    stored, summary = kept(run, written(run, tmp_path / "records"), tmp_path)
    assert (summary.verdict, summary.workloads["fake"].compared) == (RunVerdict.PASS, 4)
    manifest = stored.manifest()
    assert (manifest.status, manifest.mode) == (RunStatus.COMPLETE, "self-test")
    assert [entry.purpose for entry in manifest.orders] == ["parity", "latency"]
    assert [facts.has_runner for facts in manifest.variants.values()] == [False]
    assert manifest.device["name"] == "an app on linux x86_64"
    with pytest.raises(BaselineUnusable, match="inside an app"):
        Baselines(run.folder.parent).set(stored, cache=Cache(root=tmp_path / "cache"))


def test_other_answers_fail(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other, _ = run_everything(elsewhere, pair_seconds=0.0, body="x[::-1] * 2")
    # The answers of the other run's program under this run's ids.
    ids = [one.order.order_id for one in app_orders(run)]
    theirs = [one.order.order_id for one in app_orders(other)]
    text = written(other, tmp_path / "theirs").read_text()
    for old, new in zip(theirs, ids, strict=True):
        text = text.replace(old, new)
    (tmp_path / "records").write_text(text)
    _, summary = kept(run, tmp_path / "records", tmp_path)
    assert summary.verdict is RunVerdict.FAIL


def cut(lines: Lines) -> None:
    del lines[-3:]


def other_id(lines: Lines) -> None:
    lines[0]["order_id"] = "parity-another-app"


def more(lines: Lines) -> None:
    lines.append(lines[0])


def huge(lines: Lines) -> None:
    next(line for line in lines if line["record"] == "sample")["total_ns"] = 10**30


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut, "no end record"),
        (other_id, "order"),
        (more, "more records follow its end"),
        (huge, "total_ns"),
        (list.clear, "no end record after 0 records"),
    ],
)
def test_what_breaks_the_protocol_is_never_a_pass(
    run: Run, tmp_path: Path, change: Callable[[Lines], object], reason: str
) -> None:
    _, summary = kept(run, written(run, tmp_path / "records", change), tmp_path)
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert any(reason in one for one in summary.reasons), summary.reasons


def test_a_file_that_is_none_is_read_in_pieces(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSelfTest, match="cannot read"):
        read_results(tmp_path, app_orders(run))
    (tmp_path / "records").write_bytes(b"\0" * (40 << 20))
    found = read_results(tmp_path / "records", app_orders(run))
    assert "longer than" in str(found[0].reason)


def test_models_that_changed_since_the_run_are_not_compared(run: Run, tmp_path: Path) -> None:
    manifest = run.folder / "manifest.json"
    text = manifest.read_text()
    stored = json.loads(text)
    stored["workloads"]["fake"]["weights_sha256"] = "0" * 64
    manifest.write_text(json.dumps(stored))
    with pytest.raises(OtherModels, match="fake has other weights"):
        kept(run, written(run, tmp_path / "records"), tmp_path)
    stored["orders"] = []
    manifest.write_text(json.dumps(stored))
    with pytest.raises(NoSelfTest, match="compared and timed nothing"):
        app_orders(run)
    manifest.write_text(text)
    for order in (run.folder / "orders").iterdir():
        order.unlink()
    with pytest.raises(RunDamaged, match="has lost its order"):
        app_orders(run)
