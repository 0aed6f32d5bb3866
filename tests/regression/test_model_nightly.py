"""Nightly runs of tensor workloads: made-up runners that answer rightly or not, and a whole run of a real bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli.app import app, load_commands
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices import HostDevice
from harness.measure import LATENCY, GateVerdict
from harness.protocol.schema import WorkItem, WorkOrder
from harness.protocol.tensors import encode
from harness.pytest_plugin.gate import gate_message
from harness.regression.gate import BaselineGate
from harness.regression.nightly import NightlyResult, NightlyRun, UnitResult
from harness.regression.plan import chosen, itself, new_plan, plan_nightly
from harness.report.html import html_report
from harness.results import Store
from harness.results.baselines import Baselines
from harness.results.history import query
from harness.results.journal import SidePlan, UnitPlan, read_journal, write_plan
from harness.results.nightly import find_nightly, read_nightly
from harness.run.builder import CachedBuilder, RunOptions
from harness.run.session import RunSession
from harness.validate.comparison import TopK
from tests.fake_models import ITEMS, FakeModels
from tests.silent import Silent

pytestmark = pytest.mark.programs

FILE = Path(__file__).parents[1] / "profiling/two_models.py"


def quiet(_text: str) -> None:
    pass


def fake_side(folder: Path, **behaviour: object) -> SidePlan:
    """A made-up runner with an order for it."""
    folder.mkdir()
    builder = FakeModels(folder, **behaviour)  # type: ignore[arg-type]
    archive = builder.archive(RunOptions(), [], "cache", quiet)
    runner = builder.runner(archive, quiet)
    (model,) = archive.metadata.models
    order = WorkOrder(
        order_id="o",
        archive_sha256=archive.sha256,
        workloads=[model.workload()],
        items=[WorkItem(id=item, workload="fake", input=encode({"x": array})) for item, array in ITEMS.items()],
    )
    return SidePlan(path=runner.path, sha256=runner.sha256, runner_bytes=1000, archive_bytes=500, order=order)


def a_nightly_run(folder: Path, **behaviour: object) -> NightlyResult:
    """A answers rightly, B as chosen."""
    unit = UnitPlan(
        name="host/fake",
        device="host",
        model="fake",
        variant="fake",
        a=fake_side(folder / "a"),
        b=fake_side(folder / "b", **behaviour),
        comparison=TopK(k=2, tie=0.01),
    )
    plan = new_plan("main", [unit], repetitions=3, warmup=1)
    write_plan(folder / "night", plan)
    device = HostDevice(lock_folder=folder / "locks")
    return NightlyRun(folder / "night", plan, {"host": device}, notify=quiet, cooldown=0).run()


def parity(unit: UnitResult) -> tuple[GateVerdict, str]:
    (found,) = [limit for limit in unit.limits if limit.metric == "parity"]
    return found.verdict, found.cause


def test_the_same_answers_pass_though_not_bit_for_bit(tmp_path: Path) -> None:
    result = a_nightly_run(tmp_path, body="x * np.float32(2.0001)")
    (unit,) = result.units
    assert parity(unit) == (GateVerdict.PASS, "")
    assert set(unit.cells) == {LATENCY}, "a tensor workload has no parts"
    assert result.verdict is GateVerdict.PASS
    (first, *later) = read_journal(tmp_path / "night").all_pairs("host/fake")
    assert all(set(line.answers) == set(line.digests) == set(ITEMS) for line in first)
    assert first[0].digests != first[1].digests
    assert len(later) == 9
    assert not any(line.answers or line.digests for pair in later for line in pair)


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ({"body": "x[::-1] * 2"}, "2 of 2 answers differ; first 'first': 1 of 2 ranks of y differ"),
        ({"body": "(x * 2)[:2]"}, "y is float32 of shape [2]"),
        ({"body": "x * np.float32(2 + 1e-6 * calls)"}, "different answers in"),
    ],
)
def test_other_answers_fail(tmp_path: Path, behaviour: dict[str, str], cause: str) -> None:
    result = a_nightly_run(tmp_path, **behaviour)
    assert result.verdict is GateVerdict.FAIL
    verdict, found = parity(result.units[0])
    assert verdict is GateVerdict.FAIL
    assert cause in found


def test_a_slower_model_fails(tmp_path: Path) -> None:
    result = a_nightly_run(tmp_path, ns=6000)
    assert result.verdict is GateVerdict.FAIL
    assert result.units[0].latency.verdict is GateVerdict.FAIL
    assert parity(result.units[0])[0] is GateVerdict.PASS


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, user_cache: Cache) -> Path:
    """The results folder of a real run of two models in one binary, kept as the baseline ``main``."""
    folder = tmp_path_factory.mktemp("kept")
    session = session_of(folder)
    session.start()
    for workload in session.workloads.values():
        workload.smoke(), workload.parity(), workload.times()
    assert session.finish().verdict.value == "pass"
    Baselines(folder / "results").set(Store(folder / "results").find("latest"), "main", cache=user_cache)
    return folder


def session_of(folder: Path, **options: Any) -> RunSession:
    asked = RunOptions(
        models=(str(FILE),), repeat=2, results_dir=folder / "results", deadline=60, cooldown=0, **options
    )
    device = HostDevice(lock_folder=folder / "locks")
    return RunSession(asked, device, Silent(), builder=CachedBuilder(quiet), gate=BaselineGate())


def test_a_baseline_keeps_its_models(kept: Path) -> None:
    baselines = Baselines(kept / "results")
    baseline = baselines.get("main")
    assert baseline.by_workload == {"picture": ["picture"], "chain": ["chain"]}
    runners = {baselines.runner("main", name).path for name in baseline.timed}
    assert len(runners) == 1, "one binary has both"
    assert baseline.timed["picture"].variant == "cache"
    page = called("baseline", "list", kept)
    assert "picture, chain" in page.output


def called(*arguments: object) -> Result:
    """A command on a results folder, the last argument's."""
    load_commands()
    *words, folder = arguments
    command = [*map(str, words), "--results-dir", str(Path(str(folder)) / "results")]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_nightly_run_has_a_unit_for_each_model_and_every_report_and_the_history_name_it(kept: Path) -> None:
    markdown, junit = kept / "nightly.md", kept / "nightly.xml"
    shown = called("nightly", "--baseline", "main", "--cooldown", "0", "--markdown", markdown, "--junit", junit, kept)
    # A microsecond's noise may decide the latency, which is not tested here; nothing else may have failed.
    assert shown.exit_code in (0, 1, 3), shown.output
    record = read_nightly(find_nightly(kept / "results", "latest"))
    assert [(unit.name, unit.model, unit.variant) for unit in record.plan.units] == [
        ("host/picture", "picture", "picture"),
        ("host/chain", "chain", "chain"),
    ]
    journal = read_journal(record.folder)
    assert record.verdicts is not None
    for planned, unit in zip(record.plan.units, record.verdicts.units, strict=True):
        assert len(journal.pairs(planned.name, "first", 0)) >= 10
        assert planned.a.order.workloads == planned.b.order.workloads
        assert planned.a.sha256 == planned.b.sha256, "the sources are those of the baseline"
        assert [cell.metric for cell in unit.cells] == [LATENCY]
        assert {limit.metric: limit.verdict for limit in unit.limits}["parity"] == "pass"
    sizes = [[limit.metric for limit in unit.limits if "size" in limit.metric] for unit in record.verdicts.units]
    assert sizes == [["runner size", "archive size"], []], "one binary has both"
    for text in (markdown.read_text(), junit.read_text(), html_report(nightly_runs=[record])):
        assert "host/picture" in text
        assert "host/chain" in text
    answer = query(Store(kept / "results"), "SELECT DISTINCT model, variant, metric FROM night_pairs ORDER BY model")
    assert answer.rows == [("chain", "chain", LATENCY), ("picture", "picture", LATENCY)]


def test_models_can_be_chosen(kept: Path) -> None:
    results, device = kept / "results", HostDevice(lock_folder=kept / "locks")
    baseline = Baselines(results).get("main")
    assert chosen(baseline, ["chain"]) == ["chain"]
    plan = plan_nightly(results, "main", [device], itself, only=["chain"])
    assert [unit.name for unit in plan.units] == ["host/chain"]
    with pytest.raises(UsageError, match=r"no model 'g2p'"):
        chosen(baseline, ["g2p"])


def test_a_run_is_judged_with_each_of_its_models(kept: Path) -> None:
    session = session_of(kept, baseline="main")
    session.start()
    record = session.gate()
    session.finish()
    assert [unit.name for unit in record.plan.units] == ["host/picture", "host/chain"]
    assert record.plan.run == session.run_id
    message = gate_message(record)
    assert "host/picture latency" in message
    assert "host/chain latency" in message


def test_a_run_of_other_weights_or_models_is_refused(kept: Path) -> None:
    baselines = Baselines(kept / "results")
    baseline = baselines.get("main")
    facts = baseline.manifest.unlike["chain"].model_copy(update={"weights_sha256": "0" * 64})
    other = baseline.manifest.model_copy(update={"workloads": {**baseline.manifest.workloads, "chain": facts}})
    lacking = {"name": "lacking", "timed": {"picture": baseline.timed["picture"]}}
    for changed in (
        baseline.model_copy(update={"name": "other", "manifest": other}),
        baseline.model_copy(update=lacking),
    ):
        (baselines.folder / f"{changed.name}.json").write_text(changed.model_dump_json())
    with pytest.raises(UsageError, match="another chain than this run"):
        session_of(kept, baseline="other").start()
    with pytest.raises(UsageError, match="no variant or workload 'chain'"):
        session_of(kept, baseline="lacking").start()
