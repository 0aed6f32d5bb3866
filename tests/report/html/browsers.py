"""Debian's chromium without a window, for the tests of the page and for the pictures of its documentation."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Browser, Playwright

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
