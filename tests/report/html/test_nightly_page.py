"""Nightly runs on the page, and in Markdown and on the terminal: verdicts, pairs, what throttled, change points."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from rich.console import Console

from harness.cli import main
from harness.devices import Knob
from harness.report import report_run, to_markdown, to_terminal
from harness.report.conditions import nightly_warnings, record_warnings
from harness.report.document import Table
from harness.report.html import html_report, text_report
from harness.report.html.history import FEWEST_RUNS, over_runs
from harness.report.html.nightly import NightlyView, nightly_view
from harness.report.html.pairs import both_sides, every_pair, intervals, unit_figures
from harness.report.html.views import view
from harness.results.journal import read_journal, write_plan
from harness.results.nightly import NightlyRecord, read_nightly
from harness.results.schema import GateFacts
from tests import forked
from tests.nightly import make_plan
from tests.report.html.nightly import (
    STEP_AT,
    Phone,
    cool,
    hot,
    measured_nightly,
    past_nightly_runs,
    seen,
    two_nightly_runs,
)
from tests.report.html.pages import Elements, embedded, three_runs
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nights")


@pytest.fixture(scope="module")
def records(root: Path) -> list[NightlyRecord]:
    return two_nightly_runs(root)


@pytest.fixture(scope="module")
def bad(records: list[NightlyRecord]) -> NightlyView:
    return nightly_view(records[0], 0)


@pytest.fixture(scope="module")
def page(root: Path, records: list[NightlyRecord]) -> str:
    return html_report(three_runs(root / "runs"), records)


def terminal(blocks: list[object]) -> str:
    out = io.StringIO()
    to_terminal(blocks, Console(file=out, width=300))  # type: ignore[arg-type]
    return out.getvalue()


def test_a_nightly_runs_verdict_comes_first_with_its_causes(page: str, bad: NightlyView) -> None:
    text = Elements(page).text
    top = text[: text.index("How long a word takes")]
    assert top.index("N1") < top.index("FAIL") < top.index("Side by side")
    assert "phone/cache latency: fail: " in top
    assert "runner size grew by 10.0%" in top
    verdicts = bad.record.verdicts
    assert verdicts is not None
    first = verdicts.units[0].cells[0].first
    assert first.change is not None
    assert first.detectable is not None
    # Estimate, interval and minimum detectable effect stand beside the verdict.
    for figure in (first.change, first.change_low, first.change_high, first.detectable):
        assert f"{figure:+.1%}" in text


def test_a_nightly_run_is_printed_with_what_throttled(
    records: list[NightlyRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["nights", records[0].night_id, "--results-dir", str(records[0].folder.parents[1])])
    printed = capsys.readouterr().out
    assert printed.index("FAIL") < printed.index("thermal status up to 2") < printed.index("phone/cache encoder  fail")


def test_three_formats_have_the_same_content(records: list[NightlyRecord]) -> None:
    blocks = text_report((), records)
    text = Elements(html_report((), records)).text
    markdown, printed = to_markdown(blocks), terminal(list(blocks))
    cells = [cell for block in blocks if isinstance(block, Table) for row in block.rows for cell in row if cell]
    assert len(cells) > 60
    assert [cell for cell in cells if cell not in text] == []
    assert [cell for cell in cells if cell not in printed] == []
    denied = "fixed performance was denied: Permission denial"
    for warning in (denied, "thermal status up to 2", "core 7's highest clock was lowered from 3.00 to 1.84 GHz"):
        assert all(warning in form for form in (text, markdown, printed))


def test_a_nightly_run_that_throttled_shows_it_with_its_verdict(records: list[NightlyRecord], bad: NightlyView) -> None:
    runs = len(bad.units[0].runs)
    warning = f"the device throttled in {runs - 13} of {runs} runs: thermal status up to 2"
    text = Elements(html_report((), records)).text
    assert warning in text.partition("Nightly runs")[2]
    assert text.index("FAIL") < text.index(warning)
    assert f"fixed performance was denied: Permission denial (in {runs - 13} of {runs} runs)" in text
    assert list(nightly_warnings([])) == []
    assert "throttled" not in Elements(html_report((), records[1:])).text


def test_of_several_units_a_warning_names_its_own(bad: NightlyView) -> None:
    (unit,) = bad.units
    other = unit.plan.model_copy(update={"name": "tablet/cache"})
    warning = record_warnings([unit.plan, other], bad.journal)
    assert len(warning) == len(unit.warnings) > 3
    assert all(text.startswith("phone/cache: ") for text in warning)


def test_a_run_that_throttled_shows_it_in_every_format(tmp_path: Path) -> None:
    knobs = (Knob(name="fixed_performance", state="denied", detail="Permission denial"),)
    run = make_run(tmp_path, knobs=knobs, before=cool(), after=hot(), observed=seen(throttled=True))
    text = Elements(html_report([run])).text
    blocks = report_run(run)
    for warning in (
        "the device throttled: thermal status 2",
        "core 7's clock went between 1.32 and 3.00 GHz",
        "core 7's highest clock was lowered from 3.00 to 1.84 GHz",
        "fixed performance was denied: Permission denial",
    ):
        assert warning in text.partition("How long a word takes")[0]
        assert warning in terminal(list(blocks)).partition("Latency")[0]
        assert warning in to_markdown(blocks).partition("## Latency")[0]
    assert "throttled" not in to_markdown(report_run(make_run(tmp_path, before=cool(), after=cool())))


def test_every_pass_and_every_pair_is_drawn(bad: NightlyView) -> None:
    (unit,) = bad.units
    passes = sum(len(line.samples) for line in unit.runs)
    figure = both_sides(unit)
    assert figure is not None
    hills = [trace for trace in figure.traces if trace.get("fill") == "toself"]
    assert sum(sum(hill["customdata"]) // 2 for hill in hills) == passes
    pairs = every_pair(unit)
    assert pairs is not None
    latency = next(trace for trace in pairs.traces if trace.get("name") == "latency")
    journal = read_journal(bad.record.folder)
    ratios = [
        ratio for session in journal.sessions(unit.plan.name) for ratio in journal.ratios(unit.plan.name, *session)
    ]
    assert latency["customdata"] == pytest.approx(ratios, rel=1e-4)
    assert latency["y"] == pytest.approx([100 * math.expm1(ratio) for ratio in ratios], rel=1e-4)
    bands = [trace for trace in pairs.traces if trace["meta"].get("aside") and trace.get("fill")]
    assert len(bands) == 2, "the first session and its confirmation"


def test_the_intervals_are_those_of_the_verdict(bad: NightlyView) -> None:
    (unit,) = bad.units
    figure, cell = intervals(unit), unit.latency
    assert figure is not None
    assert cell is not None
    first = next(trace for trace in figure.traces if trace["name"] == "first")
    at = first["text"].index("latency")
    change, high = cell.first.change, cell.first.change_high
    assert change is not None
    assert high is not None
    assert first["x"][at] == pytest.approx(100 * change, rel=1e-4)
    assert first["error_x"]["array"][at] == pytest.approx(100 * (high - change), rel=1e-3)
    assert "latency: fail" in figure.layout["yaxis"]["ticktext"]


def test_temperature_and_clocks_stand_at_every_run(bad: NightlyView) -> None:
    (unit,) = bad.units
    by_title = {figure.title: figure for figure in unit_figures(unit)}
    heat = {trace["name"]: trace for trace in by_title["Temperature at each run"].traces}
    assert heat["skin"]["y"] == [31.5] * 13 + [43.8] * (len(unit.runs) - 13)
    assert len(heat["throttled"]["x"]) == len(unit.runs) - 13
    clocks = {trace["name"]: trace for trace in by_title["Clocks during each run"].traces}
    assert (clocks["core 7"]["y"][0], clocks["core 7"]["y"][-1]) == (2.9952, 1.6128)


def test_a_change_point_is_marked_with_its_nightly_run_and_commits(page: str, root: Path) -> None:
    text = Elements(page).text
    first, before = (f"{0xC0FFEE00 + at:x}".ljust(12, "0") for at in (STEP_AT, STEP_AT - 1))
    assert f"{before}..{first}" in text
    figure = next(one for one in embedded(page, "figures").values() if one["columns"].get("y") == "level")
    (mark,) = figure["layout"]["shapes"]
    assert mark["x0"] == STEP_AT - 0.5
    names = [trace["name"] for trace in figure["data"] if not trace["meta"].get("aside")]
    assert names == ["latency", "encoder", "prefill", "step"]
    assert root.exists()


def test_runs_of_one_kind_stand_in_order_and_two_are_no_history(tmp_path: Path) -> None:
    views = [view(make_run(tmp_path, seed=seed), seed) for seed in range(FEWEST_RUNS)]
    ((_, figure),) = over_runs(views[::-1])
    assert [trace["text"][0] for trace in figure.traces] == [one.manifest.run_id for one in views]
    assert "no change points are looked for" in figure.note
    assert over_runs(views[1:]) == []
    other = view(make_run(tmp_path, device="other"), 9)
    assert over_runs([*views[1:], other]) == []


def test_every_figure_is_valid_for_plotly(page: str) -> None:
    figures = embedded(page, "figures")
    assert len(figures) >= 20
    for figure in figures.values():
        go.Figure(data=figure["data"], layout=figure["layout"])


def test_a_nightly_run_that_has_not_ended_or_begun_has_a_page(tmp_path: Path, bad: NightlyView) -> None:
    past_nightly_runs(tmp_path, tmp_path / "runners")
    plan = make_plan(tmp_path)
    folder = tmp_path / "nightly" / plan.night_id
    write_plan(folder, plan)
    text = Elements(html_report((), [read_nightly(folder)])).text
    assert "NOT ENDED" in text
    assert "0 pairs so far" in text
    (folder / "journal.jsonl").write_bytes((bad.record.folder / "journal.jsonl").read_bytes() + b'{"torn')
    begun = Elements(html_report((), [read_nightly(folder)])).text
    assert f"{len(bad.units[0].pairs)} pairs so far" in begun
    assert "Every pair" in begun


def test_a_journal_without_parts_has_a_page(tmp_path: Path, bad: NightlyView) -> None:
    folder = tmp_path / "nightly" / bad.record.night_id
    write_plan(folder, bad.record.plan)
    with (folder / "journal.jsonl").open("w") as file:
        for line in bad.units[0].runs:
            file.write(line.model_copy(update={"figures": {}, "parts": []}).model_dump_json() + "\n")
    page = html_report((), [read_nightly(folder)])
    titles = [figure["columns"] for figure in embedded(page, "figures").values()]
    assert titles
    assert "encoder_ns" not in page
    assert "Where a word" not in Elements(page).text


def test_the_same_nightly_runs_give_the_same_bytes(records: list[NightlyRecord]) -> None:
    assert html_report((), records) == html_report((), records)


def test_the_command_takes_nightly_runs_and_runs_alike(root: Path, records: list[NightlyRecord]) -> None:
    results = root / "results"
    run = make_run(results)
    bad, quiet = records

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness.cli", "report", "--results-dir", str(results), *arguments]
        return forked.run(command, cwd=REPOSITORY)

    out = root / "page.html"
    done = harness(run.run_id, quiet.night_id, "--night", "latest", "--output", str(out))
    assert done.returncode == 0, done.stderr
    text = Elements(out.read_text(encoding="utf-8")).text
    assert "2 nightly runs and 1 run" in text
    assert text.index(quiet.night_id) < text.index(bad.night_id) < text.index(run.run_id)
    alone = harness("--night", "latest", "--markdown")
    assert alone.stdout.startswith(f"# Nightly run {bad.night_id}")
    assert "## Run " not in alone.stdout
    # The nightly run and the run of today begin with the same day.
    both = harness(run.run_id[:6])
    assert both.returncode == 2
    assert "of a nightly run" in both.stderr
    unknown = harness("nonsense")
    assert unknown.returncode == 2
    assert "there is no run 'nonsense'" in unknown.stderr


def test_a_run_brings_the_nightly_run_along_that_judged_it(tmp_path: Path) -> None:
    nightly = measured_nightly(tmp_path / "results", tmp_path / "runners", device=Phone())
    gate = GateFacts(night_id=nightly.night_id, baseline="main", verdict="fail", causes=["slower"])
    run = make_run(tmp_path / "results", gate=gate)
    out = tmp_path / "page.html"
    with pytest.raises(SystemExit) as ended:
        main(["report", run.run_id, "--results-dir", str(tmp_path / "results"), "--output", str(out)])
    assert ended.value.code == 0
    text = Elements(out.read_text(encoding="utf-8")).text
    assert f"against baseline main: fail (nightly run {nightly.night_id})" in text.partition("Nightly runs")[2]
    assert "Every pair, in the order it was measured" in text


def test_the_whole_share_is_what_the_parts_leave(bad: NightlyView) -> None:
    (unit,) = bad.units
    parts = unit.parts("b")
    assert parts is not None
    assert np.array_equal(parts.sum(axis=1), unit.times("b"))
