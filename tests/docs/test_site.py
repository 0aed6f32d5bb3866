"""The built site: what mkdocs complains about, where each link leads, and that nothing is fetched from elsewhere."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.conftest import Site
from tests.docs.site import ROOT
from tools.gallery_pages import MARK

# Thorough: what a release of the site has to do; every page is read by tests/test_docs.py, too.
pytestmark = [pytest.mark.programs, pytest.mark.thorough]

TAG = re.compile(r"<(a|img|link|script|iframe|source|video|object|use)\b([^>]*)>")
ADDRESS = re.compile(r"""\b(?:href|src|srcset|data|xlink:href)=(?:"([^"]*)"|'([^']*)'|([^\s>]+))""")
IDS = re.compile(r"""\bid=(?:"([^"]+)"|'([^']+)'|([^\s>]+))""")
IN_CSS = re.compile(r"@import|url\(\s*['\"]?(?!['\"]?(?:data:|#))([^)'\"]+)")
SHOWN = ("href", "a")


@functools.cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(html.unescape("".join(found)) for found in IDS.findall(text(path)))


def links(page: str) -> Iterator[tuple[str, str]]:
    """Yield each tag that leads somewhere, and where."""
    for tag, attributes in TAG.findall(page):
        for found in ADDRESS.findall(attributes):
            yield tag, html.unescape("".join(found))


def dead(page: Path, folder: Path) -> list[str]:
    """Return what a page leads to that is not there, and what it would fetch from somewhere else."""
    found = []
    for tag, address in dict.fromkeys(links(text(page))):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if tag != "a" and parts.scheme != "data":
                found.append(f"fetches {address}")
            continue
        base = folder if page.name == "404.html" else page.parent
        target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
        target = target / "index.html" if target.is_dir() else target
        fragment = unquote(parts.fragment)
        named = fragment and target.suffix == ".html" and not fragment.startswith("__")
        if not target.is_file() or (named and fragment not in anchors(target)):
            found.append(address)
    return found


def test_mkdocs_complains_about_nothing(site: Site) -> None:
    assert site.complaints == []


def test_every_link_anchor_and_picture_is_there(site: Site) -> None:
    pages = [page for page in site.pages() if "reference/rust/" not in page.as_posix()]
    assert len(pages) > 80
    found = {str(page.relative_to(site.folder)): lost for page in pages if (lost := dead(page, site.folder))}
    assert found == {}


def test_a_dead_link_an_anchor_a_picture_and_a_fetch_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h1 id="here">', encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="other.html#here"><a href="other.html#there"><a href="gone.html"><img src="gone.png">'
        '<a href="https://example.org"><script src="https://example.org/a.js"></script><a href="#self" id="self">',
        encoding="utf-8",
    )
    assert dead(page, tmp_path) == ["other.html#there", "gone.html", "gone.png", "fetches https://example.org/a.js"]


def test_no_style_sheet_fetches_anything_from_elsewhere(site: Site) -> None:
    sheets = sorted(site.folder.rglob("*.css"))
    assert len(sheets) >= 3
    found = {
        str(sheet.relative_to(site.folder)): address
        for sheet in sheets
        for address in IN_CSS.findall(text(sheet))
        if not address or urlsplit(address).netloc or not (sheet.parent / address).is_file()
    }
    assert found == {}


def test_every_page_is_in_the_menu(site: Site) -> None:
    first = text(site.folder / "index.html")
    menu = first[first.index("md-nav--primary") : first.index('<div class="md-content"')]
    listed = {address for tag, address in links(menu) if tag == "a"} | {"index.html", "."}
    sources = sorted((ROOT / "docs").rglob("*.md"))
    written = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in sources}
    made = {page.relative_to(site.folder).as_posix() for page in (site.folder / "reference").rglob("*.html")}
    made = {one for one in made if not one.startswith("reference/rust/")}
    assert len(written) > 35
    assert len(made) > 45
    assert (written | made) - listed == set(), "docs/.nav.yml"


def test_the_site_holds_no_path_of_this_machine(site: Site) -> None:
    for page in site.pages():
        assert str(ROOT) not in text(page), page


def test_the_page_about_pages_names_the_folders_of_the_menu() -> None:
    """docs/contributing/docs.md."""
    page = (ROOT / "docs/contributing/docs.md").read_text(encoding="utf-8")
    menu = (ROOT / "docs/.nav.yml").read_text(encoding="utf-8")
    folders = re.findall(r"^\| `docs/([a-z-]+)/` \|", page, re.MULTILINE)
    assert len(folders) == 4
    assert [one for one in folders if f"{one}/" not in menu] == []


def test_make_docs_counts_warnings_as_errors() -> None:
    """With --quiet mkdocs neither prints nor counts them, whatever its configuration has."""
    [recipe] = re.findall(r"^\t@\$\(SITE\) build(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe == ""
    assert re.search(r"^strict: true$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)


def test_reports_of_the_gallery_are_whole(site: Site) -> None:
    reports = [page for page in (site.folder / "gallery").glob("*.html") if page.name != "index.html"]
    assert len(reports) >= 5
    assert [page for page in reports if MARK in text(page)] == []
