"""Rivals that work, die, hang and lie, and what a comparison makes of them. Nothing is installed or compiled."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import rival_conversions, rival_pages, rival_tables, rivals
from benchmarks.processes import PeerFailed, PeerProcess
from benchmarks.rival_conversions import Conversions
from benchmarks.rival_engines import Engine, RivalEngine, Setup, arrays_of
from benchmarks.rival_names import ENGINES, INT8, MODELS, OURS, PYTORCH, QUICK, RIVALS, TITLES
from benchmarks.rival_tables import BadAnswer, Measured
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.devices.host import HostDevice

FAKE = Path(__file__).parent / "fake_rival.py"
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
MANY = 10**6
OPTIONS: dict[str, Any] = {
    "models": "u-net",
    "engines": "ours,ncnn,mnn",
    "precision": "fp32",
    "rounds": 3,
    "round_ms": 5,
    "threads": 1,
    "core": CORE,
    "ahead": False,
    "deadline": 20.0,
}


def start(how: str, good_calls: int = MANY) -> PeerProcess:
    return PeerProcess(how, [sys.executable, str(FAKE), how, str(good_calls)], cores=[CORE], threads=1)


def compare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, good_calls: int, **more: Any
) -> tuple[ExitCode, str, dict[str, Any]]:
    """A comparison of three fakes, one of which misbehaves: its status, what it printed and what it wrote."""
    source = tmp_path / "source"
    source.mkdir()
    given = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    keep: Any = np.savez
    keep(source / "inputs.npz", in0=given)
    keep(source / "expected.npz", out0=given * 2)
    made: list[RivalEngine] = []

    def open_fake(name: str, model: str, setup: Setup, _made: Conversions) -> Engine:
        if name == "mnn" and how == "refuses":
            raise PeerFailed("mnn: no layer for [it]")
        process = start(how, good_calls) if name == "mnn" else start("well")
        try:
            made.append(RivalEngine(process, model, source, 1000, setup))
        except HarnessError:
            process.close()
            raise
        return made[-1]

    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(rivals, "open_engine", open_fake)
    monkeypatch.setattr(rivals, "HostDevice", lambda: HostDevice(lock_folder=tmp_path / "locks"))
    console = Console(record=True, width=160)
    status = rivals.compare(console, OPTIONS | more, json_path=tmp_path / "out.json")
    assert all(engine.process._process.returncode is not None for engine in made)
    return status, console.export_text(), json.loads((tmp_path / "out.json").read_text())


def test_engines_that_work_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, printed, written = compare(monkeypatch, tmp_path, "well", MANY, models="u-net,ds-cnn")
    assert status is ExitCode.OK
    assert list(written["models"]) == ["u-net", "ds-cnn"]
    for model in written["models"].values():
        assert list(model["engines"]) == ["ours", "ncnn", "mnn"]
        assert model["fastest_rival"]["least"][0] in ("ncnn", "mnn")
        assert model["ratio"]["least"] > 0
        for engine in model["engines"].values():
            assert engine["error"] == 0
            assert not engine["wrong"]
            assert len(engine["rounds"]) == 3
            assert all(len(calls) >= 3 and min(calls) >= 1_000_000 for calls in engine["rounds"])
            assert engine["least_ms"] <= engine["median_ms"]
            assert engine["first_ns"] >= 1_000_000
            assert engine["size_bytes"] == 1000
    assert written["geometric_mean"]["least"] > 0
    assert set(written["loads"]) == {"u-net", "ds-cnn"}
    assert "geometric mean" in printed
    assert "2 of 2: ds-cnn" in printed


def test_memory_is_counted_from_the_loaded_library_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, _, written = compare(monkeypatch, tmp_path, "well", MANY)
    for engine in written["models"]["u-net"]["engines"].values():
        assert 0 <= engine["memory_bytes"] < 50_000_000


def test_wrong_answers_are_shown_and_no_rival_to_beat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, printed, written = compare(monkeypatch, tmp_path, "lies", MANY)
    engine = written["models"]["u-net"]["engines"]["mnn"]
    assert status is ExitCode.FAILURE
    assert engine["wrong"]
    assert engine["error"] == pytest.approx(0.25)
    assert written["models"]["u-net"]["fastest_rival"]["least"][0] == "ncnn"
    assert "MNN (wrong)" in printed
    assert "u-net on MNN: the answers are not PyTorch's" in printed


@pytest.mark.programs
@pytest.mark.parametrize(
    ("how", "good_calls", "reason"),
    [
        ("refuses", MANY, "no layer for [it]"),
        ("babbles", MANY, "load_ns is 'soon'"),
        ("dies", 0, "ended with status 7; its stderr ends: out of luck"),
        ("dies", 6, "ended with status 7; its stderr ends: out of luck"),
        ("errs", 6, "ValueError: no such layer"),
        ("hangs", 6, "gave no answer within 3 s"),
    ],
)
def test_an_engine_that_fails_is_a_line_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, good_calls: int, reason: str
) -> None:
    status, printed, written = compare(monkeypatch, tmp_path, how, good_calls, deadline=3.0)
    engines = written["models"]["u-net"]["engines"]
    assert status is ExitCode.INFRASTRUCTURE
    assert reason in engines["mnn"]["failure"]
    assert [len(engines[name]["rounds"]) for name in ("ours", "ncnn")] == [3, 3]
    assert "u-net on MNN failed: " in printed
    assert " ".join(reason.split()) in " ".join(printed.split())


def test_engines_run_ahead_of_others_in_loads_and_rounds_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda task, policy, _priority: asked.append((task, policy)))
    status, printed, written = compare(monkeypatch, tmp_path, "well", MANY, ahead=True, rounds=1)
    policies = {task: [policy for one, policy in asked if one == task] for task, _ in asked}
    assert status is ExitCode.OK
    assert len(policies) >= 3
    for found in policies.values():
        assert len(found) in (2, 4)  # the load and the round; the parent's once
        assert found[::2] == [os.SCHED_FIFO] * (len(found) // 2)
        assert found[1::2] == [os.SCHED_OTHER] * (len(found) // 2)
    assert written["options"]["ahead"]
    assert "ahead of other processes" in printed


def test_who_may_not_run_ahead_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_task: int, _policy: int, _priority: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(UsageError, match=r"cannot be scheduled before other processes: .* Operation not permitted"):
        compare(monkeypatch, tmp_path, "well", MANY, ahead=True)


def test_a_model_is_converted_once_and_a_refusal_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    how, started = ["refuses"], []

    def start_fake(engine: str, _python: Path, _cores: Sequence[int], _threads: int) -> PeerProcess:
        started.append(engine)
        return start("well" if engine == PYTORCH else how[0])

    monkeypatch.setattr(rival_conversions, "start", start_fake)
    monkeypatch.setattr(rival_conversions, "environment", lambda name, **_: Path(name))
    said: list[str] = []
    with rival_conversions.conversions(Cache(tmp_path), (CORE,), 20.0, said.append) as made:
        with pytest.raises(PeerFailed, match=r"no layer for .* in fp32"):
            made.converted("ncnn", "u-net", "fp32")
        how[0] = "well"
        folder = made.converted("ncnn", "u-net", "fp32")
        assert made.converted("ncnn", "u-net", "fp32") == folder
        assert made.converted("ncnn", "u-net", "int8") != folder
        assert rival_conversions.size_of(folder) == len((folder / "model").read_text()) > 0
    assert started == [PYTORCH, "ncnn", "ncnn"]
    assert said.count("exporting u-net") == 1
    assert said[-1] == "converting for ncnn: u-net in int8"


def test_how_far_answers_are_from_the_expected_ones() -> None:
    expected = [np.array([[1.0, -4.0]]), np.array([0.0])]
    assert rival_tables.largest_error([np.array([1.0, -4.0]), np.array([0.0])], expected) == 0
    assert rival_tables.largest_error([np.array([1.0, -3.0]), np.array([0.0])], expected) == 0.25
    assert rival_tables.largest_error([np.array([1.0, -4.0]), np.array([0.5])], expected) == 0.5
    for other in ([expected[0]], [np.array([1.0]), expected[1]], [np.array([1.0, math.nan]), expected[1]]):
        assert rival_tables.largest_error(other, expected) == math.inf
    assert Measured(error=math.inf).wrong("int8")
    assert Measured(error=math.nan).wrong("fp32")
    assert not Measured().wrong("fp32")


def test_the_fastest_rival_answers_rightly_and_is_not_ours() -> None:
    def engine(ms: float, error: float = 0.0) -> Measured:
        return Measured(rounds=[[int(ms * 1e6), int(3e6 * ms)]], error=error)

    found = {OURS: engine(1), "mnn": engine(0.5, error=0.1), "ncnn": engine(2), PYTORCH: engine(4)}
    found["litert"] = Measured(failure="not there")
    assert rival_tables.fastest_rival(found, "fp32", "least") == ("ncnn", 2.0)
    assert rival_tables.fastest_rival(found, "int8", "median") == ("mnn", 1.0)
    assert rival_tables.ratio(found, "fp32", "least") == 0.5
    assert rival_tables.ratio(found | {OURS: engine(1, error=1.0)}, "fp32", "least") is None
    assert rival_tables.ratio({OURS: engine(1)}, "fp32", "least") is None
    assert rival_tables.ratio({"ncnn": engine(1)}, "fp32", "least") is None
    assert rival_tables.geometric_mean([2.0, None, 0.5]) == pytest.approx(1.0)
    assert rival_tables.geometric_mean([None]) is None
    assert [rival_tables.number(one) for one in (None, 0.12345, 12.345, 1234.5)] == ["–", "0.123", "12.3", "1234"]


@pytest.mark.parametrize("answer", [{}, {"ns": 3}, {"ns": [1, 2]}, {"ns": [1, 2, -3]}, {"ns": [1, 2, "3"]}])
def test_a_round_needs_three_times(answer: dict[str, Any]) -> None:
    assert rival_tables.calls_of({"ns": [1, 2, 3]}) == [1, 2, 3]
    with pytest.raises(BadAnswer):
        rival_tables.calls_of(answer)


def test_the_docs_tables_have_a_row_for_each_model_and_leave_wrong_answers_out() -> None:
    engines = {
        OURS: Measured([[2_000_000] * 3], [500_000], memory_bytes=9_000_000, size_bytes=8_000_000, error=1e-6),
        "ncnn": Measured([[4_000_000] * 3], memory_bytes=5_000_000, size_bytes=3_000_000, error=1e-6),
        "mnn": Measured([[1_000_000] * 3], memory_bytes=1_000_000, size_bytes=1_000_000, error=0.3),
    }
    times, loads = rival_pages.markdown({"u-net": engines}, "fp32").split("\n\n")
    assert times.splitlines() == [
        "| Model | ours | ncnn | MNN | ratio | of the least |",
        "|---|---|---|---|---|---|",
        "| u-net | 2 | **4** | – | 0.5 | 0.5 |",
        "| geometric mean |  |  |  | 0.5 | 0.5 |",
    ]
    assert loads.splitlines()[2:] == ["| u-net | 0.5 | 9 | 5, ncnn | 8 | 3 |"]


def test_memory_in_an_answer() -> None:
    assert rival_tables.memory_of({"peak_bytes": 50, "base_bytes": 20}) == 30
    assert rival_tables.memory_of({"peak_bytes": None, "base_bytes": None}) is None
    with pytest.raises(BadAnswer, match="base_bytes is None"):
        rival_tables.memory_of({"peak_bytes": 50, "base_bytes": None})


def test_a_file_that_holds_no_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answer.npz").write_bytes(b"nothing")
    with pytest.raises(HarnessError, match=r"answer\.npz has no answers"):
        arrays_of(tmp_path / "answer.npz")
    with pytest.raises(HarnessError, match="has no answers"):
        arrays_of(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "resnet-19"], "unknown model 'resnet-19'"),
        (["--engines", "abacus"], "unknown engine 'abacus'"),
        (["--engines", ","], "no engine was named"),
        (["--precision", "int4"], "unknown precision 'int4'"),
        (["--precision", "int8", "--engines", "ncnn"], "unknown engine 'ncnn'"),
        (["--core", "4000"], "are not all usable"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    import typer

    app = typer.Typer()
    app.command()(rivals.main)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == ExitCode.USAGE
    assert message in result.output


def test_names() -> None:
    assert set(TITLES) == set(ENGINES) == {OURS, PYTORCH, *RIVALS}
    assert set(INT8) < set(ENGINES)
    assert set(QUICK) < set(MODELS)
    workers = FAKE.parents[2] / "benchmarks/workers"
    for engine in RIVALS:
        assert rival_conversions.worker_file(engine).is_file()
        assert (workers / f"rival-{engine}.txt").is_file()
    with pytest.raises(UsageError, match="no model"):
        rivals.chosen("", tuple(MODELS), "model")
