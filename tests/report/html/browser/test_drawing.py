"""The page in a real browser: what is drawn, whether everyone can read it, and what does not run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from harness.core.text import shown
from harness.report.html import html_report
from tests.report.formats import page_lines, stored_runs
from tests.report.html.browsers import Opened, Scheme, opened
from tests.report.html.pages import HOSTILE, add_profile, write
from tests.results.made_models import BERT, DETECTOR
from tests.results.samples import make_run

pytestmark = pytest.mark.programs

CUT = """() => [...document.querySelectorAll('[data-figure]')].flatMap((picture) => {
  const frame = picture.getBoundingClientRect();
  const texts = picture.querySelectorAll('.xtick text, .ytick text, .annotation-text, .legendtext, .xtitle, .ytitle');
  return [...texts].filter((one) => {
    const box = one.getBoundingClientRect();
    const beside = box.left < frame.left - 1 || box.right > frame.right + 1;
    return beside || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map((one) => `${picture.getAttribute('aria-label')}: ${one.textContent}`);
})"""
"""Texts of pictures that lie outside of their picture, where they cannot be read."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a run of words and of models with long names, and of models alone; with a profile of long names."""
    root = tmp_path_factory.mktemp("models")
    long = replace(BERT, items={f"a sentence of {tokens} tokens, as people write": (tokens * 1000, tokens * 2000)
                                for tokens in (7, 23, 101)})  # fmt: skip
    words = make_run(root, models=(long, replace(DETECTOR, wrong=("street",))))
    add_profile(words, operators=6)
    alone = make_run(root, generation=False, models=(long,))
    return write(html_report([words, alone]), tmp_path_factory.mktemp("models page"))


@pytest.fixture(scope="module")
def seen_page(browser: Browser, file: Path, nightly_runs: Path) -> Iterator[Callable[[str, Scheme], Opened]]:
    """A page with all its pictures, for the tests that only look: drawing them takes longer than looking."""
    kept: dict[tuple[str, Scheme], Opened] = {}

    def look(which: str, scheme: Scheme) -> Opened:
        if (which, scheme) not in kept:
            kept[which, scheme] = opened(browser, {"file": file, "nightly_runs": nightly_runs}[which], scheme=scheme)
        return kept[which, scheme]

    yield look
    for found in kept.values():
        found.page.close()


@pytest.mark.thorough(keep=["light"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_is_drawn_without_an_error_or_a_request(
    seen_page: Callable[[str, Scheme], Opened], file: Path, scheme: Scheme
) -> None:
    found = seen_page("file", scheme)
    pictures = found.page.locator("[data-figure]").count()
    assert pictures >= 9
    assert found.page.locator("[data-figure] .main-svg >> nth=0").count() == 1
    assert found.page.locator("[data-figure]:has(.main-svg)").count() == pictures
    assert found.errors == []
    assert found.requests == [file.as_uri()]
    assert found.page.locator("#trouble").is_hidden()


def test_a_reader_sees_what_the_golden_text_of_the_page_says(browser: Browser, tmp_path: Path) -> None:
    page_of_both = html_report(stored_runs("both"))
    page = opened(browser, write(page_of_both, tmp_path)).page
    page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true }")

    def squeezed(text: str) -> str:
        return re.sub(r"\{(good|bad|unsure)\}|[\s|]", "", text)

    seen = squeezed(page.evaluate("() => document.body.innerText"))
    lines = [line for line in page_lines(page_of_both) if not line.startswith((" ", "\n"))]
    assert len(lines) > 100
    assert [line for line in lines if squeezed(line) not in seen] == []
    beside = page.locator("figure", has_text="How long each item of bert takes")
    assert beside.locator(".legendtext").all_text_contents() == ["A", "PyTorch (A)"]
    assert beside.locator(".scatterlayer path.point").count() == 4
    page.close()


def test_what_a_run_says_does_not_run(seen_page: Callable[[str, Scheme], Opened]) -> None:
    found = seen_page("file", "light")
    assert found.page.title() == "3 runs · harness"
    assert found.page.locator("img").count() == 0
    assert shown(HOSTILE) in (found.page.locator("#runs").text_content() or "")


def test_the_policy_stops_a_script_that_got_in(browser: Browser, file: Path, tmp_path: Path) -> None:
    attacked = tmp_path / "attacked.html"
    inserted = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    attacked.write_text(file.read_text(encoding="utf-8").replace("<main>", f"<main>{inserted}"), encoding="utf-8")
    found = opened(browser, attacked)
    assert found.page.title() == "3 runs · harness"
    assert any("Content Security Policy" in error for error in found.errors)
    found.page.close()


@pytest.mark.thorough(keep=["models-light-1280", "nightly_runs-dark-390"])
@pytest.mark.parametrize(
    ("which", "scheme", "width"),
    [
        ("file", "light", 1280),
        ("file", "dark", 1280),
        ("nightly_runs", "light", 1280),
        ("nightly_runs", "dark", 390),
        ("models", "light", 1280),
    ],
)
def test_accessible(
    browser: Browser,
    request: pytest.FixtureRequest,
    seen_page: Callable[[str, Scheme], Opened],
    which: str,
    scheme: Scheme,
    width: int,
) -> None:
    if width == 1280 and which != "models":
        found = seen_page(which, scheme)
    else:
        # The pictures of nightly runs are the same in both, and take most of the time.
        file = request.getfixturevalue(which)
        found = opened(browser, file, width=width, scheme=scheme, drawn=which != "nightly_runs")
    found.page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true }")
    results = Axe().run(found.page)
    assert len(results.response["passes"]) > 20
    assert results.violations_count == 0, results.generate_report()
    assert found.page.evaluate(CUT) == []


@pytest.mark.thorough(keep=["models-390"])
@pytest.mark.parametrize(
    ("which", "width"), [("file", 320), ("file", 390), ("file", 768), ("nightly_runs", 390), ("models", 390)]
)
def test_a_phone_does_not_scroll_sideways(
    browser: Browser, request: pytest.FixtureRequest, which: str, width: int
) -> None:
    found = opened(browser, request.getfixturevalue(which), width=width)
    found.page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true }")
    assert found.page.evaluate("() => document.documentElement.scrollWidth") <= width
    wide = found.page.evaluate(
        "(width) => [...document.querySelectorAll('[data-figure]')].filter("
        "(one) => one.getBoundingClientRect().right > width || one.querySelector('svg').clientWidth > one.clientWidth"
        ").length",
        width,
    )
    assert wide == 0
    assert found.page.evaluate(CUT) == []
    found.page.close()


def test_on_a_phone_a_row_of_verdicts_has_its_cause_in_sight(browser: Browser, nightly_runs: Path) -> None:
    page = opened(browser, nightly_runs, width=390, drawn=False).page
    row = page.locator("#table-N1-1 tbody tr").first
    assert "phone/cache latency" in (row.text_content() or "")
    for label in ("verdict", "change", "cause"):
        cell = row.locator(f"td[data-label='{label}']")
        box = cell.bounding_box()
        assert cell.text_content()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    assert page.get_by_role("table", name="").count() >= 1
    assert page.locator("#table-N1-1").get_by_role("columnheader", include_hidden=True).count() == 7
    page.close()


def test_the_theme_follows_the_system_and_the_switch(browser: Browser, file: Path) -> None:
    found = opened(browser, file, scheme="dark")
    page, switch = found.page, found.page.locator("#theme")

    def colors() -> tuple[str, str]:
        ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("() => getComputedStyle(document.querySelector('[data-figure] .xtick text')).fill")
        return str(ground), str(ink)

    dark = colors()
    switch.click()
    page.wait_for_function("() => document.querySelector('[data-figure]').dataset.drawn === 'light'")
    light = colors()
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    switch.click()
    page.wait_for_function("() => document.querySelector('[data-figure]').dataset.drawn === 'dark'")
    assert colors() == dark
    switch.click()
    assert switch.text_content() == "Theme: system"
    assert found.errors == []
    page.close()


def test_nightly_runs_are_drawn_with_what_throttled_and_their_change_points(
    seen_page: Callable[[str, Scheme], Opened], nightly_runs: Path
) -> None:
    found = seen_page("nightly_runs", "light")
    page = found.page
    pictures = page.locator("[data-figure]").count()
    assert pictures >= 20
    assert page.locator("[data-figure]:has(.main-svg)").count() == pictures
    assert (found.errors, found.requests) == ([], [nightly_runs.as_uri()])
    assert page.evaluate(CUT) == []
    first, second, run = page.locator("#verdict article").all()
    for article, warned in ((first, "the device throttled in 39 of"), (run, "the device throttled: thermal status 2")):
        warning = article.locator("li", has_text=warned)
        assert warning.is_visible()
        assert warning.get_attribute("class") == "tone-unsure"
    assert "throttled" not in (second.text_content() or "")
    heat = page.locator("figure", has_text="Temperature at each run").first
    crosses = heat.locator(".scatterlayer .trace", has=page.locator("path.point"))
    assert crosses.last.locator("path.point").count() == 39
    history = page.locator("#history figure", has_text="Level over nightly runs")
    assert history.locator(".shapelayer path").count() == 1
    assert page.locator("#history", has_text="c0ffee0c0000..c0ffee0d0000").count() == 1


def test_a_browser_that_cannot_draw_says_so_and_keeps_the_tables(browser: Browser, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    text = file.read_text(encoding="utf-8")
    start = text.index('id="plotly">') + len('id="plotly">')
    broken.write_text(text[:start] + "AAAA" + text[start + 4 :], encoding="utf-8")
    found = opened(browser, broken, drawn=False)
    found.page.locator("[data-figure]").first.scroll_into_view_if_needed()
    found.page.locator("#trouble").wait_for(state="visible")
    assert "The tables hold the same figures" in (found.page.locator("#trouble").text_content() or "")
    assert found.page.locator("#cells-table tbody tr:visible").count() > 0
    found.page.close()
