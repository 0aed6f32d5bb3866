"""Debian's chromium without a window, for the tests of the page and for the pictures of its documentation."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, Playwright, Request

Scheme = Literal["light", "dark"]

DEADLINE_MS = 60_000
DRAWN = "() => [...document.querySelectorAll('[data-figure]')].every((one) => one.dataset.drawn)"
TALL = 16_000
"""A window so high that every picture is in sight, because pictures are drawn when they come into sight.

Chromium paints what is no higher than a texture, which has 16,384 rows, twenty times as fast as what is higher.
"""
WINDOW = 800
"""A window like a person's, for what is no picture: those further down are not drawn."""


def chromium(playwright: Playwright) -> Browser:
    """Started; its caller closes it."""
    found = shutil.which("chromium")
    assert found, "chromium is missing: tools/setup-tests installs it"
    # Chromium refuses its sandbox to root, which is what CI's containers run as.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=found, args=arguments, timeout=DEADLINE_MS)


@dataclass
class Opened:
    """A page that has been opened, and what went wrong while it was."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def opened(browser: Browser, file: Path, *, width: int = 1280, scheme: Scheme = "light", drawn: bool = True) -> Opened:
    height = TALL if drawn else WINDOW
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True)
    page.set_default_timeout(DEADLINE_MS)
    found = Opened(page)

    def asked(request: Request) -> None:
        if not request.url.startswith(("blob:", "data:")):
            found.requests.append(request.url)

    page.on("console", lambda message: found.errors.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", asked)
    page.goto(file.as_uri())
    if drawn:
        page.wait_for_function(DRAWN)
    return found
