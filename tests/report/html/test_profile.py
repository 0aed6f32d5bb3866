"""The page's section about profiles."""

from __future__ import annotations

from pathlib import Path

from harness.profiling.schema import Profiles
from harness.profiling.summary import summarize_profile
from harness.report.html import html_report
from harness.results import Run
from harness.results.store import write_atomically
from tests.profiling.profiles import PROVENANCE, lines
from tests.report.html.pages import Elements, embedded, three_runs


def profiled(root: Path, *, emulated: bool) -> list[Run]:
    """Three runs, of which one has a profile."""
    runs = three_runs(root)
    run = runs[2 if emulated else 0]
    found = summarize_profile(
        lines(), PROVENANCE, model="g2p", variant="cache", precision="fp32", archive_sha256="0", emulated=emulated
    )
    write_atomically(run.folder / "profile.json", Profiles(models=[found]))
    return runs


def test_the_slowest_operator_is_named_beside_its_limit(tmp_path: Path) -> None:
    page = html_report(profiled(tmp_path, emulated=False))
    assert '<section id="profile">' in page
    text = Elements(page).text
    assert "decoder_step: attend_memory" in text
    assert "marks cost +20.0%" in text
    figures = [found for found in embedded(page, "figures").values() if found["columns"].get("text") == "operators"]
    assert len(figures) == 1
    measured, limits = figures[0]["data"]
    assert measured["text"][-1] == "encoder: linear"
    assert measured["x"][-1] == 1.0
    assert figures[0]["layout"]["xaxis"]["title"]["text"] == "µs per word"
    assert limits["name"] == "roofline"


def test_an_emulators_profile_has_no_limit(tmp_path: Path) -> None:
    page = html_report(profiled(tmp_path, emulated=True))
    (figure,) = [found for found in embedded(page, "figures").values() if found["columns"].get("text") == "operators"]
    assert [trace["name"] for trace in figure["data"]] == ["measured"]
    assert "Time per operator, C, g2p, emulated" in page


def test_without_a_profile_there_is_no_section(tmp_path: Path) -> None:
    assert 'id="profile"' not in html_report(three_runs(tmp_path))
