"""The runner and PyTorch alternately: who goes first, what is left out, and every way in which it can end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.worker import WorkerFailed
from harness.devices import HostDevice
from harness.models.timing import TimedPyTorch
from harness.models.workload import TimedModel
from harness.results import Run, RunStatus, RunVerdict, Summary
from harness.run.builder import RunOptions
from harness.run.orders import Foresight
from harness.run.session import RunSession
from tests.fake_pytorch import FakePyTorch
from tests.plugin.fake_builder import FakeBuilder
from tests.plugin.fake_devices import ShelfDevice
from tests.silent import Silent

pytestmark = pytest.mark.programs

WORDS = ("cat", "dog", "mouse")


@pytest.fixture(autouse=True)
def three_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is: all items, and an end."""
    monkeypatch.setattr("harness.run.turns.MOST_ROUNDS", 3)


class Builder(FakeBuilder):
    """A builder whose PyTorch can be told how to behave."""

    def __init__(self, folder: Path, body: str = "everything()", **behaviour: Any) -> None:
        super().__init__(folder, body)
        self.behaviour = behaviour
        self.made: list[FakePyTorch] = []

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        answers: Callable[[str, dict[str, Any]], dict[str, Any]] = self.behaviour.get("answers", right)
        more = {key: value for key, value in self.behaviour.items() if key != "answers"}
        self.made.append(FakePyTorch(models, answers, **more))
        return self.made[-1]


def right(_model: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"token_ids": [byte + 3 for byte in item["word"].encode()] + [1]}


def session_of(folder: Path, builder: Builder, *, device: HostDevice | None = None, **options: Any) -> RunSession:
    words = folder / "words.tsv"
    words.write_text("".join(f"eng-us\t{word}\t{word}\n" for word in WORDS))
    given = {"own": {"words": words}, "warmup": 0, "repeat": 2, "pair_seconds": 60.0, **options}
    session = RunSession(
        RunOptions(results_dir=folder / "results", **given),
        device or HostDevice(lock_folder=folder / "locks"),
        Silent(),
        builder=builder,
    )
    session.start()
    return session


def run_of(session: RunSession, *, interrupted: bool = False) -> tuple[Run, Summary]:
    summary = session.finish(interrupted)
    return Run(session.writer.folder), summary


def after(count: int, error: BaseException) -> Callable[[dict[str, Any]], None]:
    """Raises it when PyTorch is to be timed once more than that."""
    left = iter(range(count))

    def before(_item: dict[str, Any]) -> None:
        if next(left, None) is None:
            raise error

    return before


def test_both_sides_take_turns_and_each_is_first_half_of_the_time(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    session = session_of(tmp_path, builder)
    session.turns.expect()
    [pytorch] = builder.made
    session.workloads["g2p"].parity("cache")
    found = session.pairs("g2p")
    assert found is not None
    assert found is session.pairs("g2p")
    assert pytorch.closed
    assert builder.made == [pytorch], "PyTorch was loaded once"
    run, summary = run_of(session)
    lines = list(run.pairs())
    assert lines == found.lines
    facts = run.manifest().pairing["g2p"]
    assert (facts.items, facts.of, facts.reason) == (3, 3, None)
    assert facts.rounds == 3
    assert len(lines) == 3 * facts.rounds
    assert pytorch.asked == [line.item for line in lines]
    by_item = {item: [line.first for line in lines if line.item == item] for item in pytorch.asked}
    for firsts in by_item.values():
        assert all(one != other for one, other in itertools.pairwise(firsts))
    assert {"artifact", "pytorch"} == {line.first for line in lines if line.round == 0}
    assert summary.workloads["g2p"].ratio is not None
    assert summary.workloads["g2p"].ratio.paired
    assert summary.workloads["g2p"].ratio.ratio == pytest.approx(0.51, rel=0.05)
    assert found.ratio == summary.workloads["g2p"].ratio
    assert len(found.round_figures("pytorch")) == facts.rounds
    assert found.round_figures("pytorch")[0] == pytest.approx(10_000)


def test_a_slow_model_is_timed_on_fewer_items_and_never_for_less_than_three_rounds(tmp_path: Path) -> None:
    session = session_of(tmp_path, Builder(tmp_path, before=lambda _item: time.sleep(0.2)), pair_seconds=0.5)
    found = session.pairs("g2p")
    assert found is not None
    assert (found.facts.items, found.facts.of, found.facts.rounds) == (1, 3, 3)
    _, summary = run_of(session)
    assert summary.workloads["g2p"].ratio is not None
    assert (summary.workloads["g2p"].ratio.items, summary.workloads["g2p"].ratio.of) == (1, 3)


def test_an_item_that_pytorch_answers_otherwise_is_left_out_and_undecided(tmp_path: Path) -> None:
    def answers(model: str, item: dict[str, Any]) -> dict[str, Any]:
        return {"token_ids": [5, 1]} if item["word"] == "dog" else right(model, item)

    session = session_of(tmp_path, Builder(tmp_path, answers=answers))
    found = session.pairs("g2p")
    assert found is not None
    assert list(found.facts.differing) == ["w00001"]
    run, summary = run_of(session)
    assert {line.item for line in run.pairs()} == {"w00000", "w00002"}
    assert summary.workloads["g2p"].ratio is not None
    assert summary.workloads["g2p"].ratio.items == 2
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert "PyTorch gives another token at step 0" in summary.reasons[0]


def test_a_runner_that_answers_otherwise_in_its_turn_fails(tmp_path: Path) -> None:
    body = (
        "right = output\n"
        "def output(item):\n"
        "    wrong = order['order_id'].startswith('pairs') and item['label'] == 'cat'\n"
        "    return {**right(item), 'token_ids': [9, 1]} if wrong else right(item)\n"
        "everything()"
    )
    session = session_of(tmp_path, Builder(tmp_path, body))
    session.workloads["g2p"].parity("cache")
    found = session.pairs("g2p")
    assert found is not None
    assert list(found.facts.wrong) == ["w00000"]
    _, summary = run_of(session)
    assert summary.verdict is RunVerdict.FAIL
    assert any(
        "eng-us 'cat': unstable" in failure for failure in summary.workloads["g2p"].parity["cache, paired"].failures
    )
    assert summary.workloads["g2p"].ratio is not None
    assert "w00000" not in summary.workloads["g2p"].ratio.by_item


def test_a_lossy_runner_may_depart_from_pytorch_but_not_from_itself(tmp_path: Path) -> None:
    body = "right = output\ndef output(item): return {**right(item), 'token_ids': [9, 1]}\neverything()"
    session = session_of(tmp_path, Builder(tmp_path, body), precision="int8", min_agreement=0.01, max_per_change=9.0)
    found = session.pairs("g2p")
    assert found is not None
    assert not found.facts.wrong
    assert found.facts.items == 3


def test_a_pytorch_that_dies_leaves_the_whole_rounds_and_the_reason(tmp_path: Path) -> None:
    builder = Builder(tmp_path, before=after(8, WorkerFailed("the worker ended with status -9")))
    session = session_of(tmp_path, builder)
    session.workloads["g2p"].parity("cache")
    found = session.pairs("g2p")
    assert found is not None
    assert isinstance(found.error, WorkerFailed)
    assert builder.made[0].closed
    run, summary = run_of(session)
    assert len(list(run.pairs())) == 8
    assert summary.workloads["g2p"].ratio is not None
    assert summary.workloads["g2p"].ratio.rounds == 2
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert summary.reasons == ["g2p, timed with PyTorch: the worker ended with status -9"]
    assert run.manifest().status is RunStatus.COMPLETE, "the comparisons stand without it"


def test_ctrl_c_in_a_turn_ends_pytorch_and_keeps_what_there_is(tmp_path: Path) -> None:
    builder = Builder(tmp_path, before=after(4, KeyboardInterrupt()))
    session = session_of(tmp_path, builder)
    with pytest.raises(KeyboardInterrupt):
        session.pairs("g2p")
    run, summary = run_of(session, interrupted=True)
    assert builder.made[0].closed
    assert len(list(run.pairs())) == 4
    assert run.manifest().pairing["g2p"].reason == "interrupted"
    assert summary.reasons == ["interrupted"]
    assert summary.workloads["g2p"].ratio is not None
    assert not summary.workloads["g2p"].ratio.conclusive, "one round says nothing"


def test_a_runner_that_crashes_in_its_turn_is_the_reason(tmp_path: Path) -> None:
    body = (
        "header(); sys.exit(7) if order['order_id'].startswith('pairs') else None\nheader = lambda: None\neverything()"
    )
    session = session_of(tmp_path, Builder(tmp_path, body))
    session.workloads["g2p"].parity("cache")
    found = session.pairs("g2p")
    assert found is not None
    assert "exited with status 7" in str(found.error)
    assert found.ratio is None
    _, summary = run_of(session)
    assert summary.verdict is RunVerdict.INCONCLUSIVE


def test_another_device_and_no_time_for_it_have_no_turns(tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [{"device": ShelfDevice("red")}, {"pair_seconds": 0.0}]
    for at, options in enumerate(given):
        folder = tmp_path / str(at)
        folder.mkdir()
        builder = Builder(folder)
        session = session_of(folder, builder, **options)
        session.turns.expect()
        assert session.pairs("g2p") is None
        assert not builder.made
        _, summary = run_of(session)
        assert summary.workloads["g2p"].ratio is None


def test_an_order_that_cannot_end_in_time_is_given_up_early(tmp_path: Path) -> None:
    session = session_of(
        tmp_path,
        Builder(tmp_path, "slow = sample\ndef sample(*a): time.sleep(0.05); slow(*a)\neverything()"),
        deadline=10.0,
        repeat=2000,
    )
    result = session.workloads["g2p"].times().result
    assert not result.complete
    assert "it would take about" in str(result.reason)
    assert "--deadline" in str(result.reason)
    assert result.records
    _, summary = run_of(session)
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert "it would take about" in summary.reasons[0]


def test_when_it_is_seen_that_an_order_has_no_time() -> None:
    now = [0.0]
    foresight = Foresight(910, 600.0, lambda: now[0])
    told = None
    while told is None:
        told = foresight.arrived()
        now[0] += 1.1
    assert now[0] == pytest.approx(30, abs=3), "one twentieth of the deadline"
    assert "about 1001 s and has 600" in told
    patient = Foresight(910, 600.0, lambda: now[0])
    for _ in range(910):
        assert patient.arrived() is None, "0.8 s each would take 728 s: too near to be sure"
        now[0] += 0.8
