"""The site in a browser, as somebody reads it: with a screen reader, on a phone, in the dark, in an older version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from mike.versions import Versions
from playwright.sync_api import Browser, Page, expect

from tests.docs.conftest import Site
from tests.docs.site import VERSION
from tests.report.html.browsers import DEADLINE_MS, Scheme

# Thorough: what a release of the site has to do; every page is read by tests/test_docs.py, too.
pytestmark = [pytest.mark.programs, pytest.mark.thorough]

KINDS = ("Home", "Tutorials", "How-to", "Reference", "Explanation")
expect.set_options(timeout=DEADLINE_MS)
LOOKS: list[tuple[int, Scheme]] = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


class Reader:
    """A page of the browser, what it asked for elsewhere, and what it complained about."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.address = address
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        self.page.set_default_timeout(DEADLINE_MS)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address.removesuffix(f"{VERSION}/"), "data:", "blob:")):
            self.elsewhere.append(url)


@pytest.fixture
def reader(browser: Browser, site: Site, address: str) -> Iterator[Reader]:
    versions = Versions()
    versions.add("0.0.9")
    versions.add(VERSION, aliases=["latest"])
    (site.root / "versions.json").write_text(versions.dumps(), encoding="utf-8")
    found = Reader(browser, address)
    yield found
    found.page.close()
    assert found.elsewhere == []
    assert found.complaints == []


def tabs(folder: Path) -> dict[str, str]:
    """Return the first page of each kind, as the menu has them."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    found = re.findall(r'<a href="([^"]+)" class="md-tabs__link">(.*?)</a>', text, re.DOTALL)
    return {" ".join(name.split()): address for address, name in found}


def look(reader: Reader, width: int, scheme: Scheme) -> None:
    reader.page.set_viewport_size({"width": width, "height": 900})
    reader.page.emulate_media(color_scheme=scheme)
    expected = {"light": "default", "dark": "slate"}[scheme]
    expect(reader.page.locator("body")).to_have_attribute("data-md-color-scheme", expected)


@pytest.mark.thorough(keep=["Tutorials", "Reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_each_kind_can_be_read_by_everybody(reader: Reader, site: Site, kind: str) -> None:
    reader.page.goto(reader.address + tabs(site.folder)[kind])
    for width, scheme in LOOKS:
        look(reader, width, scheme)
        # Of the same page in other colours only these are new.
        results = Axe().run(reader.page, options={} if scheme == "light" else {"runOnly": ["color-contrast"]})
        assert len(results.response["passes"]) > (20 if scheme == "light" else 0)
        assert results.violations_count == 0, f"{width} {scheme}\n{results.generate_report()}"
        assert reader.page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.thorough
def test_no_page_scrolls_sideways_on_a_phone(browser: Browser, site: Site, address: str) -> None:
    """Without scripts, which takes a tenth of the time; the pages of each kind above are looked at with them."""
    pages = [page.relative_to(site.folder).as_posix() for page in site.pages()]
    pages = [page for page in pages if not page.startswith(("reference/rust/", "gallery/"))]
    assert len(pages) > 80
    with browser.new_context(viewport={"width": 390, "height": 900}, java_script_enabled=False) as context:
        page = context.new_page()
        widths = {}
        for name in pages:
            page.goto(address + name, wait_until="load")  # with its style sheets
            widths[name] = page.evaluate("() => document.documentElement.scrollWidth")
    assert {name: width for name, width in widths.items() if width > 390} == {}


def test_a_word_is_found(reader: Reader) -> None:
    reader.page.goto(reader.address)
    reader.page.get_by_role("textbox", name="Search").fill("DeveloperModeOff")
    expect(reader.page.locator(".md-search-result__link[href*='/reference/errors.html']").first).to_be_visible()


def test_another_version_can_be_chosen(reader: Reader) -> None:
    reader.page.goto(reader.address)
    expect(reader.page.locator(".md-version__current")).to_contain_text(VERSION)
    links = reader.page.locator(".md-version__link")
    expect(links).to_have_count(2)
    assert [link.get_attribute("href") for link in links.all()] == [
        f"{reader.address.removesuffix(f'{VERSION}/')}{one}/" for one in (VERSION, "0.0.9")
    ]


def test_the_menu_opens_on_a_phone(reader: Reader) -> None:
    reader.page.set_viewport_size({"width": 390, "height": 900})
    reader.page.goto(reader.address)
    reader.page.locator("label.md-header__button[for=__drawer]").click()
    reader.page.locator(".md-nav--primary > .md-nav__list > li", has_text="Explanation").locator("label").first.click()
    link = reader.page.locator(".md-nav__link[href='architecture.html']")
    expect(link).to_be_in_viewport()
    link.click()
    expect(reader.page).to_have_url(re.compile(r"/architecture\.html$"))
