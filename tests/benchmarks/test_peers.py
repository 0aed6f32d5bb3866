"""Peers that work, die, hang and talk nonsense, and what a comparison makes of them. No environment is made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import peers
from benchmarks.engines import ENGINES, Engine, PeerEngine, Setup, least_agreement
from benchmarks.pinning import choose_cores, pinned
from benchmarks.processes import PeerFailed, PeerProcess
from benchmarks.workers.serving import decode, encode
from harness.core.errors import ExitCode, UsageError
from harness.devices.host import HostDevice
from harness.models.g2p.word_list import Word

FAKE = Path(__file__).parent / "fake_peer.py"
WORDS = [[Word("fra", "été")], [Word("fra", "eau")]]
MANY = 10**6


def start(how: str, good_runs: int = MANY) -> PeerProcess:
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return PeerProcess(how, [sys.executable, str(FAKE), how, str(good_runs)], cores=[core], threads=1)


def test_a_peer_answers_with_times_ids_and_text() -> None:
    process = start("well")
    engine = PeerEngine(process, {}, deadline=30)
    results = engine.measure(WORDS)
    engine.close()
    assert engine.facts == {"echo": "1"}
    assert [answer.text for result in results for answer in result.answers] == ["été", "eau"]
    assert results[0].answers[0].token_ids == (*encode("été"), 1)
    assert all(result.ns > 0 for result in results)


@pytest.mark.parametrize(
    ("how", "message"),
    [("dies", "ended with status 7; its stderr ends: out of luck"), ("errs", "ValueError: no such token")],
)
def test_a_failing_peer_reports_why(how: str, message: str) -> None:
    engine = PeerEngine(start(how, good_runs=0), {}, deadline=30)
    with pytest.raises(PeerFailed, match=message):
        engine.measure(WORDS)
    engine.close()


def test_a_hanging_peer_is_ended_at_its_deadline() -> None:
    engine = PeerEngine(start("hangs", good_runs=0), {}, deadline=30)
    engine.deadline = 0.5
    began = time.monotonic()
    with pytest.raises(PeerFailed, match=r"no answer within 0.5 s"):
        engine.measure(WORDS)
    assert time.monotonic() - began < 5
    assert engine.process._process.returncode == -signal.SIGKILL


def test_what_is_no_answer_is_refused() -> None:
    process = start("babbles")
    with pytest.raises(PeerFailed, match="what is no answer"):
        process.ask({"do": "load"}, deadline=30)


def test_a_peer_that_cannot_start_its_imports_is_reported() -> None:
    process = PeerProcess(
        "broken", [sys.executable, "-c", "import no_such_module"], cores=choose_cores(0, 1), threads=1
    )
    with pytest.raises(PeerFailed, match="No module named 'no_such_module'"):
        process.ask({"do": "load"}, deadline=30)


def compare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, good_runs: int, **more: Any
) -> tuple[ExitCode, str]:
    """A comparison of two fakes, one of which misbehaves; its status and what it printed."""
    made: list[Engine] = []

    def open_fake(name: str, setup: Setup) -> Engine:
        fake = start(how, good_runs) if name == "transformers" else start("well")
        made.append(PeerEngine(fake, {}, setup.deadline))
        return made[-1]

    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(peers, "open_engine", open_fake)
    monkeypatch.setattr(peers, "HostDevice", lambda: HostDevice(lock_folder=tmp_path / "locks"))
    options = {
        "checkpoint": "embedded",
        "words": 4,
        "rounds": 2,
        "forced_tokens": None,
        "batch": 1,
        "threads": 1,
        "core": min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "engines": "transformers,onnxruntime",
        "agreement_words": "0",
        "deadline": 20.0,
    }
    console = Console(record=True, width=160)
    status = peers.compare(console, tmp_path / "out.json", **(options | more))
    for engine in made:
        assert isinstance(engine, PeerEngine)
        assert engine.process._process.returncode is not None
    return status, console.export_text()


def test_a_comparison_of_engines_that_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, printed = compare(monkeypatch, tmp_path, "well", MANY)
    written = json.loads((tmp_path / "out.json").read_text())
    assert status is ExitCode.OK
    assert [len(times) for times in written["samples_ns"]["onnxruntime"]] == [2, 2, 2, 2]
    assert {row["engine"] for row in written["table"]} == {"transformers", "onnxruntime"}
    assert written["table"][0]["ratios"].keys() == {"transformers"}
    assert "median over 4 words of the median of 2 alternating rounds" in " ".join(printed.split())


@pytest.mark.parametrize("good_runs", [0, 10], ids=["first round", "second round"])
@pytest.mark.parametrize(("how", "reason"), [("dies", "ended with status 7"), ("hangs", "no answer within 2 s")])
def test_an_engine_that_fails_is_reported_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, reason: str, good_runs: int
) -> None:
    status, printed = compare(monkeypatch, tmp_path, how, good_runs, deadline=2.0)
    written = json.loads((tmp_path / "out.json").read_text())
    assert status is ExitCode.INFRASTRUCTURE
    assert reason in written["failures"]["transformers"]
    assert "transformers failed" in printed
    assert len(written["samples_ns"]["onnxruntime"][0]) == 2


@pytest.mark.parametrize("text", ["transformers,abacus", "", ","])
def test_engine_names_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match=r"unknown engine 'abacus'|no engine"):
        peers.engine_names(text)
    assert peers.engine_names(" transformers, transformers,onnxruntime") == ["transformers", "onnxruntime"]
    assert peers.engine_names(",".join(ENGINES)) == list(ENGINES)


def test_words_that_do_not_fill_a_batch_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not fill a batch"):
        compare(monkeypatch, tmp_path, "well", MANY, batch=8)


def test_only_float32_must_agree_where_lengths_are_forced() -> None:
    assert least_agreement("ours-fp32", forced=True) == least_agreement("onnxruntime", forced=False) == 0.99
    assert least_agreement("ours-int8", forced=False) == 0.8
    assert least_agreement("ctranslate2-int8", forced=True) == 0


def test_quality_words() -> None:
    assert len(peers.quality_words("26")) == 26
    assert peers.quality_words("0") == []
    assert len({word.language for word in peers.quality_words("1300")}) == 13


def test_bytes_there_and_back() -> None:
    assert decode([*encode("ʃ"), 1]) == "ʃ"
    assert decode([0, 2, 300]) == ""


def test_a_child_keeps_the_core_and_the_parent_gets_its_own_back() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    show = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
    with pinned([core]) as usable:
        assert subprocess.run(show, capture_output=True, text=True, check=True).stdout.split() == [str(core)]
    assert set(usable) == before == os.sched_getaffinity(0)
    with pytest.raises(UsageError, match="not all usable"):
        choose_cores(max(before), 2)
