"""Make the pictures of docs/reports.md: the pages as they are today, in headless Chromium.

python tools/write_images.py              # those of the tests' fake phone, measured anew
harness report NIGHTLY RUN RUN --output page.html
python tools/write_images.py page.html    # report.png, too, of what that page shows
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from harness.report.html import html_report
from tests.report.html.browsers import DEADLINE_MS, DRAWN, TALL, chromium
from tests.report.html.nightly import two_nightly_runs

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
WIDE, PHONE, MARGIN = 1180, 390, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, help="what harness report wrote")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder, browser = Path(scratch), chromium(playwright)
        nightly = folder / "nightly.html"
        nightly.write_text(html_report([], two_nightly_runs(folder)[:1]), encoding="utf-8")
        page = opened(browser, nightly, WIDE)
        shoot(page, "report-nightly.png", height=2140)
        top = page.evaluate("() => document.querySelector('#history').getBoundingClientRect().top")
        shoot(page, "report-history.png", top=top - MARGIN, height=839)
        shoot(opened(browser, nightly, PHONE, dark=True), "report-phone.png", height=1560)
        if arguments.page:
            shoot(opened(browser, arguments.page.resolve(), WIDE), "report.png", height=980)
        browser.close()


def opened(browser: Browser, file: Path, width: int, *, dark: bool = False) -> Page:
    """Open the page with every picture drawn."""
    page = browser.new_page(viewport={"width": width, "height": TALL}, color_scheme="dark" if dark else "light")
    page.set_default_timeout(DEADLINE_MS)
    page.goto(file.as_uri())
    page.wait_for_function(DRAWN)
    return page


def shoot(page: Page, name: str, *, height: int, top: float = 0) -> None:
    """``height`` pixels of the page, from ``top`` on."""
    assert page.viewport_size is not None
    page.screenshot(path=IMAGES / name, clip={"x": 0, "y": top, "width": page.viewport_size["width"], "height": height})


if __name__ == "__main__":
    main()
