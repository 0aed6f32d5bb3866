"""The page's content, read without a browser: the same figures as on the terminal, and nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest

from harness.core.errors import UsageError
from harness.core.text import shown
from harness.report import report_run, to_markdown
from harness.report.document import Table
from harness.report.html import html_report, text_report, write_page
from harness.results import StorageUnwritable, Store
from tests import forked
from tests.report.html.pages import HOSTILE, Elements, embedded, three_runs
from tests.results.made_models import BERT
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html_report(three_runs(tmp_path_factory.mktemp("runs")))


def test_the_verdict_comes_first(page: str) -> None:
    text = Elements(page).text
    assert text.index("FAIL") < text.index("Side by side") < text.index("How long a word takes")


def test_nothing_is_fetched(page: str) -> None:
    references = [
        value
        for tag, attributes in Elements(page).tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster") and tag != "use"
    ]
    assert references
    assert [value for value in references if value and not value.startswith(("#", "data:"))] == []


def test_the_policy_allows_one_script(page: str) -> None:
    policy = next(attributes["content"] or "" for tag, attributes in Elements(page).tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    executable = [a for tag, a in Elements(page).tags if tag == "script" and not (a.get("type") or "").startswith("a")]
    assert executable == [{}]


def test_text_of_a_run_stays_text(page: str) -> None:
    elements = Elements(page)
    assert shown(HOSTILE) in elements.text
    assert not [tag for tag, _ in elements.tags if tag in ("img", "b")]


def test_the_same_figures_as_on_the_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path, wrong=("w1",))
    text = Elements(html_report([run])).text
    cells = [cell for block in report_run(run) if isinstance(block, Table) for row in block.rows for cell in row]
    assert len(cells) > 60
    assert [cell for cell in cells if cell not in text] == []


def test_markdown_of_several_runs_has_what_the_page_has(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    markdown, text = to_markdown(text_report(runs)), Elements(html_report(runs)).text
    assert markdown.startswith("# 3 runs\n\n| run | verdict |")
    comparison = next(line for line in markdown.splitlines() if line.startswith("B takes ×"))
    assert comparison.replace("\\", "") in text
    assert "| C \\(emulated\\)" in markdown or "| C (emulated)" in markdown


def test_what_was_measured_apart_has_no_colour_of_a_verdict(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, models=(BERT,)), make_run(tmp_path, models=(BERT,), scale=2.0)]
    elements = Elements(html_report(runs))
    section = html_report(runs).partition('<section id="compared">')[2].partition("<details>")[0]
    lines = re.findall(r'<p class="tone-(\w+)">([^<]*)</p>', section)
    assert [tone for tone, text in lines if "takes ×" in text] == ["plain", "plain"]
    # The doubt is in the same paragraph as the figure, and so of the same size.
    assert all("measured apart" in text for _, text in lines if "takes ×" in text)
    assert "slower" not in section
    assert "bert: B takes ×" in elements.text


def test_every_figure_is_valid_for_plotly(page: str) -> None:
    figures = embedded(page, "figures")
    assert len(figures) >= 9
    for figure in figures.values():
        # Raises ValueError for a property or a value that is not in plotly's schema.
        go.Figure(data=figure["data"], layout=figure["layout"])


def test_an_emulators_times_stand_alone(page: str) -> None:
    for figure in embedded(page, "figures").values():
        if {"times_median", "ms", "median_ms"} & set(figure["columns"].values()):
            runs = {trace.get("name", "").split(" ")[0] for trace in figure["data"]}
            runs |= {str(bar).split(" ")[0] for trace in figure["data"] if trace["type"] == "bar" for bar in trace["y"]}
            assert "C" not in runs or not {"A", "B", "PyTorch"} & runs
    text = Elements(page).text
    assert "times of an emulator are compared with nothing" in text
    assert "Word by word: B against A" in text
    assert "Word by word: C" not in text


def test_what_was_denied_and_left_behind_is_reported_with_the_verdict(page: str) -> None:
    top = Elements(page).text.partition("Side by side")[0]
    assert "fixed performance was denied: Permission denial" in top
    assert "stay awake was not restored" in top


def test_a_divergence_names_its_step_and_margins(page: str) -> None:
    text = " ".join(Elements(page).text.partition("Parity with PyTorch")[2].split())
    assert "1 of 9 compared words are not equal" in text
    assert "mismatch" in text


def test_an_unfinished_run_has_a_page(tmp_path: Path) -> None:
    text = Elements(html_report([make_run(tmp_path, ended=False)])).text
    assert "INCONCLUSIVE" in text
    assert "status incomplete" in text
    with Store(tmp_path).create() as empty:
        pass
    assert "Nothing was compared" in Elements(html_report([Store(tmp_path).find(empty.run_id)])).text


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    assert html_report(runs) == html_report(runs)


def test_no_run_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        html_report([])


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_page(tmp_path / "new" / "page.html", "text")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnwritable):
        write_page(tmp_path / "file" / "page.html", "text")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(StorageUnwritable):
        write_page(tmp_path / "folder.html", "text")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, "-m", "harness.cli", *arguments], cwd=REPOSITORY)


def test_the_command(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "results"), make_run(tmp_path / "results", scale=1.5)
    where = ("--results-dir", str(tmp_path / "results"))
    out = tmp_path / "page.html"
    done = harness("report", "latest~1", "latest", "--output", str(out), *where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out} (")
    text = Elements(out.read_text(encoding="utf-8")).text
    assert text.index(first.run_id) < text.index(second.run_id)
    markdown = harness("report", "latest", "--markdown", *where)
    assert markdown.stdout.startswith(f"# Run {second.run_id}")
    unknown = harness("report", "nonsense", *where)
    assert unknown.returncode == 2
    assert "Traceback" not in unknown.stderr
    unwritable = harness("report", "--output", str(out / "below"), *where)
    assert unwritable.returncode == 3
    assert "Traceback" not in unwritable.stderr
