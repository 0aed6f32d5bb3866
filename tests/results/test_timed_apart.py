"""Runs of before both sides were timed alternately: two of them, kept as the harness of then left them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.report import compare_runs, report_run, to_markdown
from harness.report.html import html_report
from harness.results import Run, Store
from harness.results.history import query
from harness.results.summarize import summarize_files, summarize_run
from tests.results.samples import make_run

KEPT = Path(__file__).parent / "timed_apart"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copytree(KEPT, tmp_path / "results")
    return Store(tmp_path / "results")


@pytest.fixture
def words(store: Store) -> Run:
    return next(run for run in store.runs() if not run.manifest().unlike)


@pytest.fixture
def tensors(store: Store) -> Run:
    return next(run for run in store.runs() if run.manifest().unlike)


def test_the_ratio_of_words_is_shown_with_its_doubt_in_every_place(store: Store, words: Run) -> None:
    load_commands()
    listed = CliRunner().invoke(app, ["runs", "--results-dir", str(store.root)]).output
    shown = CliRunner().invoke(app, ["show", words.run_id, "--results-dir", str(store.root)]).output
    texts = [listed, shown, to_markdown(report_run(words)), to_markdown(compare_runs(words, words))]
    for text in texts:
        figures = [line for line in text.splitlines() if "×0.501" in line]
        assert figures
        # Columns with it in their head have no room for it in each cell.
        assert all("timed apart" in line or "| ×0.501 |" in line for line in figures if "median" in line), text
    assert "×0.501 [0.501, 0.501] of PyTorch's time, but timed apart, in two sessions" in " ".join(shown.split())


def test_a_model_of_tensors_gets_its_rows_from_the_files(tensors: Run) -> None:
    stored = tensors.summary()
    assert stored is not None
    assert not stored.workloads["fake"].by_item
    found = summarize_run(tensors)
    assert {item: one.samples for item, one in found.workloads["fake"].by_item.items()} == {"first": 4, "second": 4}
    assert found.verdict is stored.verdict
    ratio, old = found.workloads["fake"].ratio, stored.workloads["fake"].ratio
    assert ratio is not None
    assert old is not None
    assert (ratio.ratio, ratio.paired) == (old.ratio, False)
    text = to_markdown(report_run(tensors))
    assert "| fake | first | 4 |" in text
    assert "but timed apart, in two sessions" in text.split("\n\n")[1]
    compared = to_markdown(compare_runs(tensors, tensors))
    assert "| fake | 4 of 4 | 4 of 4 | 2 | ×1.000 |" in compared


def test_they_are_compared_with_runs_of_now_and_put_on_a_page(store: Store, words: Run, tensors: Run) -> None:
    now = make_run(store.root)
    page = html_report([words, tensors, now], [])
    assert words.run_id in page
    text = to_markdown(report_run(now))
    assert "timed apart" not in text
    assert "time of PyTorch's" in to_markdown(compare_runs(words, words))


def test_their_summaries_can_be_made_again(words: Run) -> None:
    stored = words.summary()
    assert stored is not None
    again = summarize_files(words.manifest(), words)
    assert (again.workloads["g2p"].ratio, again.verdict, again.workloads["g2p"].parity) == (
        stored.workloads["g2p"].ratio,
        stored.verdict,
        stored.workloads["g2p"].parity,
    )


def test_a_query_distinguishes_them(store: Store, words: Run, tmp_path: Path) -> None:
    now = make_run(store.root)
    found = query(
        store,
        "SELECT run, of_pytorch_in_turns, of_pytorch FROM workloads "
        "WHERE of_pytorch IS NOT NULL AND kind = 'generation'",
        cache=tmp_path / "c",
    )
    rows = {run: (turns, round(ratio, 1)) for run, turns, ratio in found.rows}
    assert rows == {words.run_id: (False, 0.5), now.run_id: (True, 0.5)}
