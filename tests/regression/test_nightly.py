"""Nightly runs on a fake device with seeded noise: what is run, the verdicts, and what survives a kill."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices import RunResult
from harness.measure import ENCODER, LATENCY, METRICS, PREFILL, STEP, Floor, GateVerdict, Judgement, Undecided
from harness.regression.nightly import TRIES, EmulatedDevice, NightlyResult, NightlyRun, RunnerChanged, UnitResult
from harness.regression.plan import itself, plan_nightly
from harness.regression.verdicts import judge_nightly
from harness.report.nightly import nightly_report
from harness.results import RunDamaged, RunWriter, StorageUnwritable
from harness.results.baselines import Baselines, BaselineUnusable
from harness.results.journal import JOURNAL, Journal, read_journal, read_plan, write_plan
from harness.results.nightly import read_floor, write_floor
from tests.nightly import FakeDevice, make_plan
from tests.results.kept import cached_run

REPOSITORY = Path(__file__).parents[2]


def quiet(_line: str) -> None:
    pass


def a_nightly_run(folder: Path, device: FakeDevice, **more: Any) -> NightlyResult:
    plan = make_plan(folder, **more)
    write_plan(folder / "night", plan)
    return NightlyRun(folder / "night", plan, {"phone": device}, notify=quiet).run()


def only(result: NightlyResult) -> UnitResult:
    (unit,) = result.units
    return unit


def limit(result: NightlyResult, metric: str) -> tuple[GateVerdict, str]:
    (found,) = [one for one in only(result).limits if one.metric == metric]
    return found.verdict, found.cause


def test_a_nightly_run_without_a_change(tmp_path: Path) -> None:
    device = FakeDevice()
    result = a_nightly_run(tmp_path, device)
    assert result.verdict is GateVerdict.PASS
    assert "".join(device.ran) == "abba" * 5, "ten pairs in alternating order"
    first = only(result).latency.sessions.first
    assert isinstance(first, Judgement)
    assert first.change_low <= 0.0 <= first.change_high
    assert 0.03 < first.detectable < 0.06
    assert [one.verdict for one in only(result).limits] == [GateVerdict.PASS] * 4
    assert device.held == 0


def test_a_regression_is_measured_twice_and_fails(tmp_path: Path) -> None:
    device = FakeDevice()
    result = a_nightly_run(tmp_path, device, slower=0.08)
    assert result.verdict is GateVerdict.FAIL
    assert "".join(device.ran) == "abba" * 10
    assert "when measured again" in only(result).latency.cause
    assert resumed(tmp_path, FakeDevice(seed=9)) == result, "resumed, it has the same result and measures nothing"


def resumed(folder: Path, device: FakeDevice) -> NightlyResult:
    result = NightlyRun(folder / "night", read_plan(folder / "night"), {"phone": device}, notify=quiet).run()
    assert device.ran == []
    return result


def test_a_noisy_device_is_inconclusive_after_two_extended_sessions(tmp_path: Path) -> None:
    device = FakeDevice(noise=0.12)
    result = a_nightly_run(tmp_path, device)
    assert result.verdict is GateVerdict.INCONCLUSIVE
    assert len(device.ran) == 2 * 2 * 16
    assert "too noisy" in only(result).latency.cause


def test_a_device_that_throttles_in_the_midst_still_passes(tmp_path: Path) -> None:
    device = FakeDevice(throttled_from=7)
    assert a_nightly_run(tmp_path, device).verdict is GateVerdict.PASS


def test_a_hot_or_lost_device_is_tried_once_more_and_then_named(tmp_path: Path) -> None:
    hot = FakeDevice(hot_at=4)
    result = a_nightly_run(tmp_path, hot)
    assert result.verdict is GateVerdict.INCONCLUSIVE
    assert only(result).latency.cause == "the battery has 45 °C"
    assert only(result).latency.sessions.first == Undecided("the battery has 45 °C")
    cool = FakeDevice()
    nightly = NightlyRun(tmp_path / "night", read_plan(tmp_path / "night"), {"phone": cool}, notify=quiet)
    assert nightly.run().verdict is GateVerdict.PASS, "resumed when it has cooled down"
    assert len(cool.ran) == 20
    (tmp_path / "lost").mkdir()
    lost = FakeDevice(lost_at=6)
    assert a_nightly_run(tmp_path / "lost", lost).verdict is GateVerdict.PASS, "the second attempt found it again"
    assert len(lost.ran) == 7 + 20


def test_a_candidate_that_crashes_fails_and_a_baseline_that_does_is_inconclusive(tmp_path: Path) -> None:
    device = FakeDevice()
    result = a_nightly_run(tmp_path, device, crashes=True)
    assert result.verdict is GateVerdict.FAIL
    assert limit(result, "runs at all")[1].endswith("the runner was killed by SIGSEGV")
    assert device.ran == ["a", "b"] * TRIES
    folder = tmp_path / "other"
    folder.mkdir()
    plan = make_plan(folder)
    broken = plan.units[0].model_copy(update={"a": make_plan(folder, crashes=True).units[0].b})
    nightly = NightlyRun(folder, plan.model_copy(update={"units": [broken]}), {"phone": FakeDevice()}, notify=quiet)
    assert nightly.run().verdict is GateVerdict.INCONCLUSIVE


def test_limits(tmp_path: Path) -> None:
    result = a_nightly_run(tmp_path, FakeDevice(), peak=42_040_000, size=5_105_000, answers={"two": "too"})
    assert result.verdict is GateVerdict.FAIL
    assert only(result).latency.verdict is GateVerdict.PASS
    assert limit(result, "peak memory")[0] is GateVerdict.FAIL
    assert limit(result, "runner size")[0] is GateVerdict.FAIL
    assert limit(result, "archive size")[0] is GateVerdict.PASS
    found, cause = limit(result, "parity")
    assert found is GateVerdict.FAIL
    assert cause == "1 of 2 words differ; first 'two': 'two' became 'too'"


def test_an_archive_that_grew_fails_alone(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    unit = plan.units[0]
    larger = unit.b.model_copy(update={"archive_bytes": unit.a.archive_bytes * 103 // 100})
    grown = plan.model_copy(update={"units": [unit.model_copy(update={"b": larger})]})
    result = NightlyRun(tmp_path, grown, {"phone": FakeDevice()}, notify=quiet).run()
    assert result.verdict is GateVerdict.FAIL
    failed = [one for one in only(result).limits if one.verdict is not GateVerdict.PASS]
    assert [(one.metric, one.cause) for one in failed] == [
        ("archive size", "archive size grew by 3.0%, at most 2% is allowed")
    ]


def test_a_candidate_whose_answers_change_each_time_fails(tmp_path: Path) -> None:
    result = a_nightly_run(tmp_path, FakeDevice(), fickle=True)
    found, cause = limit(result, "parity")
    assert found is GateVerdict.FAIL
    assert cause.startswith("2 of 2 words differ")


def test_a_declared_tie_is_no_mismatch(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, answers={"two": "too"}, margin=0.0001)
    tied = make_plan(tmp_path, margin=0.0001).units[0].b
    unit = plan.units[0].model_copy(update={"a": tied})
    result = NightlyRun(
        tmp_path, plan.model_copy(update={"units": [unit]}), {"phone": FakeDevice()}, notify=quiet
    ).run()
    assert limit(result, "parity") == (GateVerdict.PASS, "")


def test_out_of_time_goes_on_later(tmp_path: Path) -> None:
    plan, clock = make_plan(tmp_path), iter(range(10_000))
    nightly = tmp_path / "night"
    write_plan(nightly, plan)
    device = FakeDevice()
    short = NightlyRun(nightly, plan, {"phone": device}, notify=quiet, budget=6, clock=lambda: float(next(clock))).run()
    assert short.verdict is GateVerdict.INCONCLUSIVE
    assert only(short).latency.cause == "the time budget was used up"
    done = len(device.ran)
    assert 0 < done < 20
    assert NightlyRun(nightly, read_plan(nightly), {"phone": device}, notify=quiet).run().verdict is GateVerdict.PASS
    assert len(device.ran) == 20


def test_a_journal_cut_anywhere_goes_on(tmp_path: Path) -> None:
    """As a kill at fifty moments leaves it: whole lines, and maybe the beginning of one."""
    plan = make_plan(tmp_path, slower=0.08)
    write_plan(tmp_path / "night", plan)
    NightlyRun(tmp_path / "night", plan, {"phone": FakeDevice()}, notify=quiet).run()
    whole = (tmp_path / "night" / JOURNAL).read_bytes()
    rng = random.Random(1)
    for cut in [0, 1, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(47))]:
        (tmp_path / "night" / JOURNAL).write_bytes(whole[:cut])
        device = FakeDevice(seed=cut)
        result = NightlyRun(tmp_path / "night", plan, {"phone": device}, notify=quiet).run()
        assert result.verdict is GateVerdict.FAIL
        kept = whole[:cut].count(b"\n")
        # Half a pair is measured again.
        assert len(device.ran) == 40 - kept + kept % 2
        journal = Journal(tmp_path / "night")
        assert [len(journal.pairs("phone/cache", stage, 0)) for stage in ("first", "confirmation")] == [10, 10]


def test_a_journal_of_another_kind_is_reported(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("{}\n")
    with pytest.raises(RunDamaged, match=JOURNAL):
        Journal(tmp_path)
    with pytest.raises(RunDamaged, match=r"plan\.json"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"slower": 0.5}, GateVerdict.PASS),
        ({"slower": 0.5, "size": 9_000_000}, GateVerdict.FAIL),
        ({"answers": {"one": "another"}}, GateVerdict.FAIL),
        ({"crashes": True}, GateVerdict.FAIL),
    ],
)
def test_an_emulated_device_is_judged_by_everything_but_its_times(
    tmp_path: Path, facts: dict[str, Any], verdict: GateVerdict
) -> None:
    plan = make_plan(tmp_path, **facts)
    plan = plan.model_copy(update={"units": [plan.units[0].model_copy(update={"emulated": True})]})
    folder = tmp_path / "nightly" / plan.night_id
    write_plan(folder, plan)
    device = FakeDevice(emulated=True)
    result = NightlyRun(folder, plan, {"phone": device}, notify=quiet).run()
    assert result.verdict is verdict
    cells = only(result).cells
    assert {cell.verdict for cell in cells.values()} == {GateVerdict.INCONCLUSIVE}
    assert all(cell.cause == "emulated: this time is shown and not judged" for cell in cells.values())
    assert len(device.ran) <= 2 * plan.rule.extended_pairs, "no suspicion is confirmed"
    record = judge_nightly(tmp_path, folder, result)
    text = "\n".join(str(block) for block in nightly_report(record))
    assert "emulated, so that their times are shown and not judged: phone" in text
    assert "nothing slower" not in text


def test_a_baseline_of_an_emulated_device_serves_emulated_devices_alone(tmp_path: Path) -> None:
    results, cache = tmp_path / "results", Cache(tmp_path / "cache")
    run = cached_run(results, cache)
    RunWriter(run.folder, run.manifest()).update(device={**run.manifest().device, "emulated": True})
    with pytest.raises(BaselineUnusable, match="emulated"):
        Baselines(results).set(run, "main", cache=cache)
    Baselines(results).set(run, "main", cache=cache, emulated=True)
    plan = plan_nightly(results, "main", [FakeDevice(emulated=True)], itself)
    assert [unit.emulated for unit in plan.units] == [True]
    with pytest.raises(UsageError, match="baseline main was made on an emulated device, and phone is real"):
        plan_nightly(results, "main", [FakeDevice(emulated=True), FakeDevice()], itself)


def test_emulated_devices_and_changed_runners_are_refused(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with pytest.raises(EmulatedDevice):
        NightlyRun(tmp_path, plan, {"phone": FakeDevice(emulated=True)}, notify=quiet)
    plan.units[0].b.path.write_text("other")
    with pytest.raises(RunnerChanged):
        NightlyRun(tmp_path, plan, {"phone": FakeDevice()}, notify=quiet)


def test_both_sides_run_from_copies_that_are_gone_afterwards(tmp_path: Path) -> None:
    """How a program's file was written changes its speed, so that both are written anew."""
    ran: set[Path] = set()

    class Noting(FakeDevice):
        def run(self, runner: Path, *arguments: Any, **options: Any) -> RunResult:
            ran.add(runner)
            return super().run(runner, *arguments, **options)

    plan = make_plan(tmp_path)
    NightlyRun(tmp_path, plan, {"phone": Noting()}, notify=quiet).run()
    (unit,) = plan.units
    assert {path.name for path in ran} == {unit.a.path.name, unit.b.path.name}
    assert len(ran) == 2
    assert not ran & {unit.a.path, unit.b.path}
    assert all(path.parents[1].parent == tmp_path and not path.exists() for path in ran)
    assert not list(tmp_path.glob("runners-*"))


def test_a_device_is_calibrated_against_itself_and_keeps_its_floor(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, calibrate=6)
    unit = plan.units[0].model_copy(update={"b": plan.units[0].a})
    plan = plan.model_copy(update={"units": [unit]})
    device = FakeDevice(noise=0.02)
    floors = NightlyRun(tmp_path, plan, {"phone": device}, notify=quiet).calibrate()
    assert len(device.ran) >= 6 * 20
    assert set(floors["phone/cache"]) == set(METRICS)
    floor = floors["phone/cache"][LATENCY]
    assert floor.noise == pytest.approx(0.02, rel=0.5)
    assert 0.005 < floor.change < 0.06
    write_floor(tmp_path, "key", floor)
    assert read_floor(tmp_path, "key") == floor
    assert read_floor(tmp_path, "other") is None
    # Below a floor of its own, a change is none.
    restless = Floor(sessions=6, pairs=10, change=0.5, noise=0.02)
    slower = unit.model_copy(update={"floor": restless, "b": make_plan(tmp_path, slower=0.1).units[0].b})
    (tmp_path / "night").mkdir()
    nightly = NightlyRun(
        tmp_path / "night", plan.model_copy(update={"units": [slower]}), {"phone": device}, notify=quiet
    )
    assert nightly.run().verdict is GateVerdict.PASS


def test_a_folder_that_is_gone_is_reported(tmp_path: Path) -> None:
    nightly = NightlyRun(tmp_path / "gone", make_plan(tmp_path), {"phone": FakeDevice()}, notify=quiet)
    with pytest.raises(StorageUnwritable, match="gone"):
        nightly.run()


def cell(result: NightlyResult, metric: str) -> tuple[GateVerdict, str]:
    found = only(result).cells[metric]
    return found.verdict, found.cause


def test_a_part_fails_alone_where_it_is_worth_it(tmp_path: Path) -> None:
    """The encoder takes a fifth: 8 % of it are 1.6 % of the whole, which alone would be no matter."""
    result = a_nightly_run(tmp_path, FakeDevice(noise=0.003), encoder=1.08)
    assert result.verdict is GateVerdict.FAIL
    assert cell(result, ENCODER)[0] is GateVerdict.FAIL
    assert [cell(result, metric) for metric in (LATENCY, PREFILL, STEP)] == [(GateVerdict.PASS, "")] * 3
    encoder = only(result).cells[ENCODER].sessions
    assert isinstance(encoder.first, Judgement)
    assert encoder.first.change == pytest.approx(0.08, abs=0.01)
    assert encoder.first.threshold == pytest.approx(0.05, rel=0.02), "a hundredth of the whole"
    assert encoder.second is not None
    assert only(result).cells[LATENCY].sessions.second is None, "measured again, but not because of the latency"


def test_a_tiny_part_may_grow_and_its_detectable_change_shows_it(tmp_path: Path) -> None:
    result = a_nightly_run(tmp_path, FakeDevice(noise=0.003), prefill=1.2)
    assert cell(result, PREFILL) == (GateVerdict.PASS, "")
    found = only(result).cells[PREFILL].sessions.first
    assert isinstance(found, Judgement)
    assert found.change == pytest.approx(0.2, abs=0.01)
    assert found.detectable > found.threshold == pytest.approx(0.5, rel=0.02)
    assert only(result).shares == pytest.approx({ENCODER: 0.2, PREFILL: 0.02, STEP: 0.7}, rel=0.05)
    (tmp_path / "half").mkdir()
    grown = a_nightly_run(tmp_path / "half", FakeDevice(noise=0.003), prefill=1.8)
    assert cell(grown, PREFILL)[0] is GateVerdict.FAIL


def test_a_noisy_part_leaves_the_verdict_to_the_whole(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    write_plan(tmp_path / "night", plan)
    NightlyRun(tmp_path / "night", plan, {"phone": FakeDevice(noise=0.003)}, notify=quiet).run()
    journal = tmp_path / "night" / JOURNAL
    rng, lines = random.Random(3), [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line["figures"][ENCODER] *= rng.lognormvariate(0, 0.12)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = NightlyRun(tmp_path / "night", plan, {"phone": FakeDevice()}, notify=quiet).run()
    assert cell(result, ENCODER)[0] is GateVerdict.INCONCLUSIVE
    assert result.verdict is GateVerdict.PASS


def test_a_journal_without_parts_is_read_and_judged_by_the_whole(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, slower=0.08)
    write_plan(tmp_path / "night", plan)
    NightlyRun(tmp_path / "night", plan, {"phone": FakeDevice()}, notify=quiet).run()
    journal = tmp_path / "night" / JOURNAL
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        del line["figures"], line["parts"]
    # Ten pairs as an older harness wrote them; today's goes on with the confirmation.
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines if line["stage"] == "first"))
    device = FakeDevice(seed=4)
    result = NightlyRun(tmp_path / "night", plan, {"phone": device}, notify=quiet).run()
    assert len(device.ran) == 20
    assert set(only(result).cells) == {LATENCY}
    assert result.verdict is GateVerdict.FAIL


def test_a_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    write_plan(tmp_path, plan)
    NightlyRun(tmp_path, plan, {"phone": FakeDevice()}, notify=quiet).run()
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole[:-100])
    assert len(read_journal(tmp_path).pairs("phone/cache", "first", 0)) == 9
    assert (tmp_path / JOURNAL).read_bytes() == whole[:-100], "the torn line is the writer's affair"
