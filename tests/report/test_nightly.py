"""A nightly run for people and for machines: terminal, Markdown and JUnit XML agree."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml
from rich.console import Console

from harness.regression.nightly import NightlyRun
from harness.regression.verdicts import judge_nightly
from harness.report import to_markdown, to_terminal
from harness.report.junit import nightly_junit
from harness.report.nightly import nightly_report
from harness.results import Git
from harness.results.journal import write_plan
from harness.results.nightly import DriftFacts, LimitFacts, NightlyRecord, read_nightly, write_verdicts
from tests.nightly import FakeDevice, make_plan


def judged(folder: Path, *, noise: float = 0.003, slower: float = 0.0, **more: Any) -> NightlyRecord:
    plan = make_plan(folder, slower=slower, **more)
    nightly = folder / "nightly" / plan.night_id
    write_plan(nightly, plan)
    device = FakeDevice(noise=noise)
    return judge_nightly(folder, nightly, NightlyRun(nightly, plan, {"phone": device}, notify=lambda _line: None).run())


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> NightlyRecord:
    """A nightly run whose encoder became slower, and nothing else by much."""
    return judged(tmp_path_factory.mktemp("slower"), encoder=1.1)


def terminal(record: NightlyRecord) -> str:
    out = io.StringIO()
    to_terminal(nightly_report(record), Console(file=out, width=200))
    return out.getvalue()


def cases(record: NightlyRecord) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(nightly_junit(record).encode())
    return {case.get("name", ""): case for case in root.iter("testcase")}


def test_the_verdict_comes_first_with_what_it_rests_on(slower: NightlyRecord) -> None:
    first, *rest = terminal(slower).splitlines()
    assert first == "FAIL  ·  phone/cache encoder, against main"
    (row,) = [line for line in rest if line.startswith("phone/cache encoder")]
    assert "fail" in row
    assert "when measured again" in row
    assert slower.verdicts is not None
    encoder = slower.verdicts.units[0].cells[1].first
    assert encoder.change is not None
    assert encoder.detectable is not None
    assert f"{encoder.change:+.1%}" in row
    assert f"from {encoder.detectable:+.1%}" in row
    assert "20%" in row


def test_markdown_is_fit_for_a_pull_request(slower: NightlyRecord) -> None:
    text = to_markdown(nightly_report(slower))
    assert text.startswith("**FAIL")
    header = next(line for line in text.splitlines() if line.startswith("| cell"))
    rows = [line for line in text.splitlines() if line.startswith("| phone/cache")]
    assert len(rows) == 4 + 4, "four metrics and four limits"
    assert {line.count("|") for line in rows[:4]} == {header.count("|")}
    assert f"Nightly run {slower.night_id}" in text


def test_junit_is_read_by_others_and_counts_failures(slower: NightlyRecord, tmp_path: Path) -> None:
    (tmp_path / "nightly.xml").write_text(nightly_junit(slower))
    document = JUnitXml.fromfile(str(tmp_path / "nightly.xml"))
    assert (document.tests, document.failures, document.errors) == (8, 1, 0)
    found = cases(slower)
    assert list(found) == [
        "latency",
        "encoder",
        "prefill",
        "step",
        "runner size",
        "archive size",
        "peak memory",
        "parity",
    ]
    failure = found["encoder"].find("failure")
    assert failure is not None
    assert "when measured again" in (failure.get("message") or "")
    properties = {one.get("name"): one.get("value") for one in found["encoder"].iter("property")}
    assert float(properties["harness.change"] or 0) == pytest.approx(0.1, abs=0.01)
    assert float(properties["harness.detectable"] or 0) > 0.05


def test_limits_stand_with_their_figures(tmp_path: Path) -> None:
    record = judged(tmp_path, size=5_200_000, peak=41_000_000)
    texts = (terminal(record), to_markdown(nightly_report(record)))
    for text in texts:
        rows = {name: line for line in text.splitlines() for name in ("runner size", "peak memory") if name in line}
        for figure in ("fail", "5.0 MB", "5.2 MB", "+4.0%", "+2.0%"):
            assert figure in rows["runner size"]
        for figure in ("pass", "40.0 MB", "41.0 MB", "+2.5%", "+5.0%"):
            assert figure in rows["peak memory"]
    properties = {one.get("name"): one.get("value") for one in cases(record)["runner size"].iter("property")}
    assert properties["harness.b"] == "5200000.0"
    assert float(properties["harness.change"] or 0) == pytest.approx(0.04)


def test_limits_of_before_their_figures_were_kept_are_read(slower: NightlyRecord) -> None:
    assert slower.verdicts is not None
    unit = slower.verdicts.units[0]
    old = [LimitFacts.model_validate({"metric": one.metric, "verdict": one.verdict}) for one in unit.limits]
    verdicts = slower.verdicts.model_copy(update={"units": [unit.model_copy(update={"limits": old})]})
    (row,) = [line for line in terminal(replace(slower, verdicts=verdicts)).splitlines() if "archive size" in line]
    assert row.split()[3:8] == ["pass", "–", "–", "–", "–"]


def test_a_pass_shows_what_it_would_have_found(tmp_path: Path) -> None:
    record = judged(tmp_path)
    assert record.verdicts is not None
    least = record.verdicts.units[0].cells[0].first.detectable
    assert least is not None
    passed = "PASS  ·  nothing slower, larger or different than main in 4 cells"
    assert terminal(record).startswith(f"{passed}; {least:+.1%} of latency would have been found")


def test_what_could_not_be_decided_is_an_error_for_junit(tmp_path: Path) -> None:
    record = judged(tmp_path, noise=0.12)
    error = cases(record)["latency"].find("error")
    assert error is not None
    assert "too noisy" in (error.get("message") or "")
    assert terminal(record).startswith("INCONCLUSIVE  ·  phone/cache latency")


def test_a_nightly_run_that_has_not_ended_shows_how_to_go_on(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    write_plan(tmp_path / "nightly" / plan.night_id, plan)
    record = read_nightly(tmp_path / "nightly" / plan.night_id)
    assert f"harness nightly --resume {plan.night_id}" in terminal(record)
    assert cases(record)["nightly run"].find("error") is not None


def test_a_side_that_was_slowed_on_purpose_is_reported_everywhere(tmp_path: Path) -> None:
    record = judged(tmp_path)
    unit = record.plan.units[0]
    order = unit.b.order.model_copy(update={"slowdown_percent": 5.0})
    plan = record.plan.model_copy(
        update={"units": [unit.model_copy(update={"b": unit.b.model_copy(update={"order": order})})]}
    )
    write_plan(record.folder, plan)
    slowed = read_nightly(record.folder)
    assert slowed.slowed == 5.0
    assert "slowed down by 5 % on purpose" in terminal(slowed)
    assert "slowed down by 5 % on purpose" in to_markdown(nightly_report(slowed))
    assert "harness.slowed_on_purpose_percent" in nightly_junit(slowed)


def test_drift_is_reported_with_its_commits_and_cannot_break_the_page(tmp_path: Path) -> None:
    record = judged(tmp_path)
    assert record.verdicts is not None
    drift = DriftFacts(
        device="phone",
        model="m",
        variant="cache",
        metric="latency",
        chain="main",
        night_id="20260102",
        night_before="20260101",
        commit="b" * 40,
        commit_before="a" * 40,
        commits=["bbbbbbb Say <b>less</b> | more\x07"],
        before=1.0,
        after=1.05,
        p=0.001,
    )
    drifted = record.verdicts.model_copy(update={"verdict": "warn", "drifts": [drift]})
    write_verdicts(record.folder, drifted)
    stored = read_nightly(record.folder)
    assert terminal(stored).startswith("WARN  ·  drift against the nightly runs before in 1 of 4 cells")
    assert "+5.0% since nightly run 20260102" in terminal(stored)
    assert "\\<b\\>less" in to_markdown(nightly_report(stored))
    out = cases(stored)["latency"].find("system-out")
    assert out is not None
    assert "Say <b>less</b>" in (out.text or "")
    unknown = drifted.model_copy(update={"drifts": [drift.model_copy(update={"commits": None})]})
    write_verdicts(record.folder, unknown)
    assert f"commits {'a' * 12}..{'b' * 12}" in terminal(read_nightly(record.folder))


def test_commits_of_both_sides_are_named(tmp_path: Path) -> None:
    record = judged(tmp_path)
    unit = record.plan.units[0]
    b = unit.b.model_copy(update={"git": Git(commit="c0ffee" * 6 + "beef", dirty=True)})
    write_plan(record.folder, record.plan.model_copy(update={"units": [unit.model_copy(update={"b": b})]}))
    assert "the sources, commit c0ffeec0ffee + changes" in terminal(read_nightly(record.folder))
