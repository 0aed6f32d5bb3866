"""The page's section about profiles."""

from __future__ import annotations

from pathlib import Path

from harness.report.html import html_report
from harness.results import Run
from tests.report.html.pages import Elements, add_profile, embedded, three_runs


def profiled(root: Path, *, emulated: bool) -> list[Run]:
    """Three runs, of which one has a profile."""
    runs = three_runs(root)
    add_profile(runs[2 if emulated else 0], emulated=emulated)
    return runs


def test_the_slowest_operator_is_named_beside_its_limit(tmp_path: Path) -> None:
    page = html_report(profiled(tmp_path, emulated=False))
    assert '<section id="profile">' in page
    text = Elements(page).text
    assert "decoder_step: attend_memory" in text
    assert "profiling costs +20.0%" in text
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


def test_a_profile_of_a_noisy_machine_warns_above_its_picture(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    add_profile(runs[0], cost=0.88)
    page = html_report(runs)
    section = page.partition('<section id="profile">')[2]
    assert "the machine was too noisy, measure again" in section.partition("<figure")[0]
    assert embedded(page, "documents")["profiles-A"][0]["overhead"]["noisy"] is True
