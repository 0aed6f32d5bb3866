"""The gallery's pages hold nothing private, and are whole reports once plotly.js is back."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

from harness.report.html.blobs import packed
from harness.report.html.page import plotly_script
from tools.gallery_pages import (
    GALLERY,
    MARK,
    complete,
    on_post_build,
    private_paths,
    renamed,
    whole_text,
    with_plotly,
    without_plotly,
)
from tools.write_gallery import NIGHTLY, RUNS

IMAGES = GALLERY.parent / "images"
PAGES = sorted(GALLERY.glob("*.html"))
HOST = re.compile(
    r"\b(?:[\w-]+\.)+(?:local|lan|internal|intern|corp|home)\b|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+"
)
"""A name or an address within somebody's network."""


def report(documents: str, figures: str = "{}") -> str:
    parts = {"figures": figures, "documents": documents}
    data = [f'<script type="application/octet-stream" id="{name}">{packed(text.encode())}</script>'
            for name, text in parts.items()]  # fmt: skip
    return "\n".join([*data, '<script type="application/octet-stream" id="plotly">UExPVA</script>'])


def test_the_gallery_has_a_page_and_a_picture_of_every_exhibit() -> None:
    names = [exhibit.name for exhibit in (*RUNS, NIGHTLY)]
    assert len(names) == 5
    assert [page.stem for page in PAGES] == sorted(names)
    index = (GALLERY / "index.md").read_text(encoding="utf-8")
    for name in names:
        assert f"({name}.png)]({name}.html)" in index
        assert (GALLERY / f"{name}.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_holds_nothing_private(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert private_paths(text) == []
    assert HOST.findall(whole_text(text)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_holds_its_commit_its_machine_and_its_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.stem == NIGHTLY.name:
        # Both of its sides are baselines, each with a commit of its own.
        assert len(re.findall(r"baseline [\w-]+, commit [0-9a-f]{12}", text)) >= 2
        assert "harness nightly --baseline" in text
    else:
        assert re.search(r"git checkout [0-9a-f]{40} &amp;&amp; pytest suites ", text)
    assert "Intel" in text or "AMD" in text
    assert "the checkout had changes" not in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_small_without_plotly(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert MARK in text
    assert len(text) < 500_000


def test_pictures_are_small() -> None:
    pictures = [*GALLERY.glob("*.png"), *IMAGES.glob("*.png"), *IMAGES.glob("*.svg")]
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000
    for picture in (one for one in pictures if one.suffix == ".png"):
        width, height = struct.unpack(">II", picture.read_bytes()[16:24])
        assert width in (390, 1180, 1280), picture.name
        assert height > 300, picture.name


def test_every_picture_is_on_a_page() -> None:
    pages = [*GALLERY.parent.rglob("*.md"), GALLERY.parents[1] / "README.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    pictures = [*IMAGES.rglob("*.png"), *IMAGES.rglob("*.svg"), *GALLERY.glob("*.png")]
    assert len(pictures) >= 20
    assert [picture.name for picture in pictures if f"{picture.name})" not in text] == []


def test_plotly_is_left_out_and_put_back() -> None:
    page = report("{}")
    kept = without_plotly(page)
    assert MARK in kept
    assert "UExPVA" not in kept
    whole = with_plotly(kept)
    assert packed(plotly_script().read_bytes()) in whole
    assert without_plotly(whole) == kept
    for no_page in ("<p>", whole):
        with pytest.raises(ValueError, match="no mark"):
            with_plotly(no_page)
    with pytest.raises(ValueError, match="no report"):
        without_plotly("<p>")


def test_a_built_site_gets_whole_pages(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    (gallery / "one.html").write_text(without_plotly(report("{}")))
    (gallery / "other.html").write_text("<p>not a report</p>")
    on_post_build({"site_dir": str(tmp_path)})
    assert MARK not in (gallery / "one.html").read_text()
    assert (gallery / "other.html").read_text() == "<p>not a report</p>"
    assert complete(gallery) == []


def test_private_paths_are_found_also_in_packed_data() -> None:
    assert private_paths(report("{}")) == []
    page = report(json.dumps({"plan": {"path": "/home/ana/checkout/results/x"}}))
    assert private_paths(page) == ["/home/ana"]
    assert private_paths("<p>see /tmp/run-1/x</p>" + report("{}")) == ["/tmp/run-1"]
    assert private_paths(renamed(page, {"/home/ana/checkout/": ""})) == []
    assert '"results/x"' in whole_text(renamed(page, {"/home/ana/checkout/": ""}))
