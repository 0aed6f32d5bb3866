"""The summary of a run, against figures worked out by hand."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from harness.protocol.schema import Header, Load, Phase, Sample
from harness.results import RunVerdict
from harness.results.summarize import parity_summary, shortcomings, summarize, summarize_run
from harness.validate import TolerancePolicy, Verdict
from tests.results.samples import make_run


def test_a_good_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    summary = summarize_run(run)
    assert summary.verdict is RunVerdict.PASS
    assert summary.reasons == []
    timed = [r.record for r in run.samples() if isinstance(r.record, Sample) and r.record.phase is Phase.TIMED]
    found = summary.workloads["g2p"]
    warm, pytorch, ratio = found.warm, found.pytorch, found.ratio
    assert warm is not None
    assert pytorch is not None
    assert ratio is not None
    assert warm.median == statistics.median(record.total_ns for record in timed)
    assert (warm.samples, warm.items) == (15, 3)
    total = sum(record.total_ns for record in timed)
    assert warm.items_per_second == pytest.approx(15e9 / total)
    tokens = 5 * (len("kæt".encode()) + len("dɒɡ".encode()) + len("ʃat".encode()) + 3)
    assert warm.ns_per_token == pytest.approx(total / tokens)
    assert (found.cold_load, found.peak_bytes, found.variant) == (30_000_000, 50_000_000, "cache")
    assert found.first == next(r.record.total_ns for r in run.samples() if isinstance(r.record, Sample))
    assert ratio.ratio == pytest.approx(0.5, rel=0.03)
    assert ratio.paired
    assert ratio.conclusive
    assert (ratio.items, ratio.of, ratio.rounds) == (3, 3, 4)
    assert statistics.geometric_mean(one.ratio for one in ratio.by_item.values()) == pytest.approx(ratio.ratio)
    assert (pytorch.samples, pytorch.items) == (12, 3)


def test_only_whole_rounds_of_items_that_were_answered_as_before_count(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    manifest = run.manifest()
    pairs = list(run.pairs())
    left_out = manifest.pairing["g2p"].model_copy(update={"differing": {"w1": "another answer"}})
    manifest = manifest.model_copy(update={"pairing": {"g2p": left_out}})
    torn = [line for line in pairs if (line.round, line.item) != (3, "w2")]
    summary = summarize(manifest, run.reference(), run.samples(), run.parity(), pairs=torn)
    assert summary.workloads["g2p"].ratio is not None
    assert list(summary.workloads["g2p"].ratio.by_item) == ["w0", "w2"]
    assert summary.workloads["g2p"].ratio.rounds == 3
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert summary.reasons == ["g2p, timed with PyTorch: another answer"]


def test_accuracy_by_language_and_over_all(tmp_path: Path) -> None:
    found = summarize_run(make_run(tmp_path, wrong=("w0",))).workloads["g2p"].accuracy
    # cat: x kæt is one edit in 3; dog: right by its second gold; chat: one t too many in 2.
    assert found["pytorch"]["eng-us"].per == 0
    assert found["cache"]["eng-us"].per == pytest.approx(1 / 6)
    assert found["cache"]["fra"].per == pytest.approx(1 / 2)
    assert found["cache"]["fra"].wer == 1
    assert found["cache"]["all"].per == pytest.approx(2 / 8)
    assert found["cache"]["all"].wer == pytest.approx(2 / 3)


def test_a_mismatch_fails_the_run_even_if_it_ended_early(tmp_path: Path) -> None:
    summary = summarize_run(make_run(tmp_path, wrong=("w2",), complete=False))
    assert summary.verdict is RunVerdict.FAIL
    assert summary.workloads["g2p"].parity["cache"].by_subset["fra"] == {Verdict.MISMATCH: 1}
    assert "fra 'chat': mismatch at step 0" in summary.workloads["g2p"].parity["cache"].failures[0]
    assert summary.reasons == ["cache: 1 of 3 words differ", "latency order of cache: killed by SIGKILL"]


def test_an_incomplete_run_is_inconclusive(tmp_path: Path) -> None:
    summary = summarize_run(make_run(tmp_path, complete=False))
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert summary.reasons == ["latency order of cache: killed by SIGKILL"]


def test_a_lossy_model_may_differ_by_its_allowance(tmp_path: Path) -> None:
    """One of three words wrong: 67 % agree, and PER doubled."""
    for agreement, per_change, reasons in (
        (0.6, 0.3, []),
        (0.7, 0.3, ["cache: 2 of 3 words agree (66.67%), at least 70.00% have to"]),
        (0.6, 0.1, ["cache: PER is 25.00%, PyTorch's 12.50%: +12.50 points, at most +10.00 may be"]),
    ):
        run = make_run(tmp_path, wrong=("w0",), policy=TolerancePolicy(agreement, per_change))
        summary = summarize_run(run)
        assert summary.reasons == reasons
        assert summary.verdict is (RunVerdict.FAIL if reasons else RunVerdict.PASS)
        assert run.manifest().policy == TolerancePolicy(agreement, per_change)


def test_what_is_not_even_stable_is_never_allowed(tmp_path: Path) -> None:
    lines = [line.model_copy(update={"verdict": Verdict.UNSTABLE}) for line in make_run(tmp_path).parity()]
    assert shortcomings(TolerancePolicy(0.1, 1.0), parity_summary(lines), {}, {}) == [
        "3 of 3 words are unstable, have another text or no answer"
    ]


def test_what_a_second_process_loaded_is_not_part_of_a_cold_start(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lines = list(run.samples())
    resumed = [*lines, *(line for line in lines if isinstance(line.record, Header | Load))]
    summary = summarize(run.manifest(), run.reference(), resumed, run.parity())
    assert summary.workloads["g2p"].warm is not None
    assert summary.workloads["g2p"].cold_load == 30_000_000
