"""Diagrams, the recorded session and the gallery's pages in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.report.html.browsers import opened
from tools.gallery_pages import GALLERY, complete
from tools.write_diagrams import diagrams
from tools.write_terminal import FILE

pytestmark = pytest.mark.programs

PHONE = 390
OVERFLOWING = """() => {
  const rects = [...document.querySelectorAll("rect")].map((one) => one.getBBox());
  const holds = (rect, x, y) => rect.x <= x && x <= rect.x + rect.width && rect.y <= y && y <= rect.y + rect.height;
  return [...document.querySelectorAll("text")].filter((text) => {
    const box = text.getBBox();
    const middle = box.y + box.height / 2;
    const around = rects.filter((rect) => holds(rect, box.x + 1, middle)).sort((a, b) => a.width - b.width)[0];
    return !around || box.x + box.width > around.x + around.width;
  }).map((text) => text.textContent);
}"""
"""Every text that is wider than the narrowest card around its beginning."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery as the site has it."""
    folder = tmp_path_factory.mktemp("site") / "gallery"
    shutil.copytree(GALLERY, folder)
    assert len(complete(folder)) == 5
    return folder


@pytest.mark.parametrize("name", sorted(diagrams()))
def test_every_text_of_a_diagram_lies_within_its_card(browser: Browser, name: str) -> None:
    page = browser.new_page()
    page.set_content(diagrams()[name])
    assert page.evaluate(OVERFLOWING) == []
    page.close()


def test_a_text_that_is_too_wide_is_found(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content('<svg><rect width="20" height="20"/><text x="2" y="15">much too wide</text></svg>')
    assert page.evaluate(OVERFLOWING) == ["much too wide"]
    page.close()


@pytest.mark.thorough(keep=["nightly.html"])
@pytest.mark.parametrize("file", [page.name for page in sorted(GALLERY.glob("*.html"))])
def test_a_page_of_the_gallery_fits_a_phone_and_loads_nothing(browser: Browser, gallery: Path, file: str) -> None:
    found = opened(browser, gallery / file, width=PHONE)
    assert found.page.evaluate("() => document.documentElement.scrollWidth") == PHONE
    assert found.errors == []
    assert found.requests == [(gallery / file).as_uri()]
    assert found.page.locator(".plot svg").count() > 0
    assert not found.page.locator("#trouble").is_visible()
    found.page.close()


def test_a_page_without_plotly_says_that_its_tables_hold_the_figures(browser: Browser) -> None:
    """As it is in the repository: a person who opens that file has to be told why there are no pictures."""
    found = opened(browser, GALLERY / "bert.html", width=PHONE, drawn=False)
    found.page.wait_for_selector("#trouble:not([hidden])", state="attached")
    assert "The tables hold the same figures" in (found.page.locator("#trouble").text_content() or "")
    found.page.close()


def test_the_recorded_session_ends_with_all_of_its_lines(browser: Browser) -> None:
    """Without motion at once, and with it after a while."""
    still = browser.new_page(reduced_motion="reduce")
    still.set_content(FILE.read_text(encoding="utf-8"))
    hidden = (
        "() => [...document.querySelectorAll('text')].filter((one) => getComputedStyle(one).opacity !== '1').length"
    )
    assert still.evaluate(hidden) == 0
    still.close()
    moving = browser.new_page(reduced_motion="no-preference")
    moving.set_content(FILE.read_text(encoding="utf-8"))
    assert moving.evaluate(hidden) > 10
    moving.evaluate("() => document.getAnimations().forEach((one) => one.finish())")
    assert moving.evaluate(hidden) == 0
    moving.close()
