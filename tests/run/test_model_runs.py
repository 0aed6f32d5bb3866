"""A run of a model of tensors from its orders to its report, with a runner that answers rightly or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.devices import HostDevice
from harness.report import compare_runs, report_run, to_markdown
from harness.report.html import html_report
from harness.results import Run, RunStatus, RunVerdict, Store, Summary
from harness.run.builder import RunOptions
from harness.run.session import RunSession
from harness.validate import Verdict
from tests.fake_models import FakeModels
from tests.silent import Silent

pytestmark = pytest.mark.programs


def run_everything(folder: Path, *, pair_seconds: float = 0.5, **behaviour: Any) -> tuple[Run, Summary]:
    (folder / "made").mkdir()
    options = RunOptions(
        models=("fake.py",), warmup=1, repeat=3, pair_seconds=pair_seconds, results_dir=folder / "results", deadline=60
    )
    device = HostDevice(lock_folder=folder / "locks")
    session = RunSession(options, device, Silent(), builder=FakeModels(folder / "made", **behaviour))
    session.start()
    assert session.of("fake.py") == ["fake"]
    fake = session.workloads["fake"]
    fake.smoke(), fake.parity(), fake.times()
    session.pairs("fake")
    summary = session.finish()
    return Store(folder / "results").find("latest"), summary


def test_a_model_that_says_what_pytorch_says(tmp_path: Path) -> None:
    run, summary = run_everything(tmp_path, pair_seconds=5.0)  # both items fit in, also on a busy machine
    assert summary.verdict is RunVerdict.PASS
    found = summary.workloads["fake"]
    assert found.count(Verdict.EQUAL) == found.compared == 4  # two items, probed and timed
    assert [one.max_error for one in found.parity.values()] == [0.0, 0.0]
    assert (found.cold_load, found.peak_bytes) == (1000, 4096)
    assert {item: one.samples for item, one in found.by_item.items()} == {"first": 3, "second": 3}
    assert found.warm is found.pytorch is None, "different items have no common median"
    assert found.ratio is not None
    assert found.ratio.paired
    assert found.ratio.ratio == pytest.approx(0.51, rel=0.05)
    assert set(found.ratio.by_item) == {"first", "second"}
    manifest = run.manifest()
    assert [(order.purpose, order.workload, order.complete) for order in manifest.orders] == [
        ("smoke", "fake", True),
        ("parity", "fake", True),
        ("latency", "fake", True),
    ]
    assert manifest.unlike["fake"].compare == "the 2 best, ties within 0.001"
    order = json.loads((run.folder / "orders" / f"{manifest.orders[1].order_id}.json").read_text())
    assert [workload["kind"] for workload in order["workloads"]] == ["tensor"]
    assert [item["id"] for item in order["items"]] == ["first", "second"]

    report = to_markdown(report_run(run))
    assert "4 of 4 answers of 1 model agree" in report
    assert "| fake | 4 | 4 | 0 |" in report
    rows = [line for line in report.splitlines() if line.startswith(("| fake | first |", "| fake | second |"))]
    assert len(rows) == 2
    assert all("| 10.0 µs | ×0.5" in row for row in rows)
    compared = to_markdown(compare_runs(run, run))
    assert "| fake | 4 of 4 | 4 of 4 | 2 | ×1.000 |" in compared
    assert "| fake | first |" in compared
    assert "×1.000" in compared
    page = html_report([run])
    assert ">Models<" in page


@pytest.mark.parametrize(
    ("behaviour", "verdict", "word"),
    [
        ({"body": "x[::-1] * 2"}, Verdict.MISMATCH, "ranks of y differ"),
        ({"body": "(x * 2)[:2]"}, Verdict.MISMATCH, "of shape [2]"),
        ({"body": "x * np.float32(2 + 1e-6 * calls)"}, Verdict.UNSTABLE, "different answers"),
    ],
)
def test_a_wrong_answer_fails_the_run(tmp_path: Path, behaviour: dict[str, Any], verdict: Verdict, word: str) -> None:
    run, summary = run_everything(tmp_path, **behaviour)
    assert summary.verdict is RunVerdict.FAIL
    found = summary.workloads["fake"]
    failures = [failure for one in found.parity.values() for failure in one.failures]
    assert found.count(verdict) > 0
    assert any(word in failure for failure in failures), failures
    assert word in to_markdown(report_run(run)).replace("\\", "")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"body": "os._exit(7)"}, "exited with status 7"),
        ({"damage": "tensors['size'] += 1"}, "bytes of tensors arrived of"),
        ({"damage": "tensors['sha256'] = '0' * 64"}, "not those that were sent (SHA-256)"),
        ({"damage": "tensors = encode({'z': np.zeros(1)})"}, "has other outputs than ['y']"),
    ],
)
def test_what_did_not_arrive_whole_is_no_verdict(tmp_path: Path, behaviour: dict[str, Any], reason: str) -> None:
    run, summary = run_everything(tmp_path, **behaviour)
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert summary.workloads["fake"].missing > 0
    manifest = run.manifest()
    assert manifest.status is RunStatus.INCOMPLETE
    assert any(reason in str(order.reason) for order in manifest.orders), [o.reason for o in manifest.orders]
