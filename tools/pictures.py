"""Save pictures of pages for the docs: small files, from headless Chromium."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page

from harness.core.files import replacing
from tests.report.html.browsers import DEADLINE_MS, DRAWN, TALL

MARGIN = 16
COLOURS = 128


def opened(browser: Browser, file: Path, width: int, *, scheme: Literal["light", "dark"] = "light") -> Page:
    """Open a report with every picture drawn."""
    page = browser.new_page(viewport={"width": width, "height": TALL}, color_scheme=scheme)
    page.set_default_timeout(DEADLINE_MS)
    page.goto(file.as_uri())
    page.wait_for_function(DRAWN)
    return page


def shoot(page: Page, path: Path, *, height: int, top: float = 0, colours: int = COLOURS) -> None:
    """Save ``height`` pixels of the page from ``top`` on, with few colours, in as few bytes as PNG allows."""
    assert page.viewport_size is not None
    clip = {"x": 0, "y": max(0, top), "width": page.viewport_size["width"], "height": height}
    seen = Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]
    few = seen.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        few.save(partial, format="PNG", optimize=True)


def top_of(page: Page, selector: str) -> float:
    """Return where an element begins, with some room above it."""
    found: float = page.evaluate("(at) => document.querySelector(at).getBoundingClientRect().top + scrollY", selector)
    return found - MARGIN
