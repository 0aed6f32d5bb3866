"""Make the pictures of pages in docs/images: reports, a comparison, an explanation and a lab's page, as they are today.

python -m tools.write_gallery        # first: it measures what most of the pictures show
python -m tools.write_screenshots    # about a minute

The history and the lab are made up, because a real one takes weeks and phones: they are those of the tests. The
explained defect is real: a test plants it, and explains it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from harness.cli.documents.lab import LabDocument, lab_document
from harness.explain.schema import Explanation
from harness.lab.client import Census
from harness.lab.wire import PROTOCOL, BuilderCard, Waiter, Work
from harness.report.html import explanation_page, html_report
from tests.lab.served import Watched, card, served
from tests.report.html.browsers import DEADLINE_MS, chromium
from tests.report.html.nightly import two_nightly_runs
from tools.gallery_pages import ROOT
from tools.pictures import opened, shoot, top_of
from tools.write_gallery import BASELINE, CANDIDATE, failed_nightly, run_of

IMAGES = ROOT / "docs/images"
WIDE, PHONE = 1280, 390
DEFECT = "tests/explain/test_defects.py::test_a_defect_fails_parity_and_is_located[transposed_weight]"


@dataclass(frozen=True)
class Shot:
    """Hold one picture: which page, which part of it, how wide and how high."""

    name: str
    page: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"
    top: str = ""
    """The element at the top; the page's beginning without one."""


SHOTS = (
    Shot("report.png", "run", WIDE, 900),
    Shot("report-dark.png", "run", WIDE, 760, "dark", "#latency"),
    Shot("report-compared.png", "compared", WIDE, 900, top="#compared"),
    Shot("report-nightly.png", "nightly", WIDE, 1150),
    Shot("report-phone.png", "nightly", PHONE, 1100, "dark"),
    Shot("report-history.png", "history", WIDE, 839, top="#history"),
    Shot("explain.png", "explained", WIDE, 900),
    Shot("explain-phone.png", "explained", PHONE, 900, "dark"),
)
LAB_SHOTS = (
    Shot("lab.png", "lab", WIDE, 760),
    Shot("lab-phone.png", "lab", PHONE, 1100, "dark"),
)


def explained_defect(folder: Path) -> Explanation:
    """Run the test that plants a defect and explains it; return the explanation that it left."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}", DEFECT]
    subprocess.run(command, cwd=ROOT, check=True)
    [found] = folder.glob("**/explain/w[0-9]*[0-9].json")
    return Explanation.model_validate_json(found.read_text(encoding="utf-8"))


def reports(folder: Path) -> dict[str, str]:
    """Return every report's page by its name."""
    (folder / "history").mkdir()
    return {
        "run": html_report([run_of("g2p")]),
        "compared": html_report([run_of(BASELINE), run_of(CANDIDATE)]),
        "nightly": html_report([], [failed_nightly()]),
        "history": html_report([], two_nightly_runs(folder / "history")[:1]),
        "explained": explanation_page(explained_defect(folder / "explained")),
    }


class Desk(Watched):
    """A lab of made-up phones, and one worker that compiles."""

    def document(self) -> LabDocument:
        builder = BuilderCard(
            protocol=PROTOCOL, harness="1", name="rack/compile-1", host="rack", store="file:///s",
            doing="detector for android-arm64", seconds=30.0, done=2,
        )  # fmt: skip
        census = Census("s", {one.name: one for one in self.cards}, {}, {builder.name: builder})
        return lab_document("tcp://127.0.0.1:8786", census, 1.0, self.trouble)


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Serve a lab's page of six phones on two hosts; yield its address."""
    folder.mkdir()
    two_nightly_runs(folder)
    held = Work(seconds=312.0, doing="nightly run", records=41)
    cards = [
        card("desk/41061F"),
        card("desk/41062F", "held", holder="process 7 of ana", work=held, waiting=1,
             queue=[Waiter(owner="process 8 of ben", seconds=61.0)]),
        card("desk/R5CW30", labels={"model": "Galaxy S24", "os": "14", "battery": 64}),
        card("rack/R58M12", "quarantined", reason="its battery has 41.5 °C, more than 37 °C",
             labels={"model": "Galaxy A54", "os": "14", "battery": 100}),
        card("rack/ZY22", labels={"model": "moto g84", "os": "13", "battery": 91}),
        card("rack/00008120", kind="ios", target="ios-arm64",
             labels={"model": "iPhone 15", "os": "17.5", "battery": 88}),
    ]  # fmt: skip
    with served(Desk(cards), folder / "results") as address:
        yield address


def opened_lab(browser: Browser, address: str, shot: Shot) -> Page:
    page = browser.new_page(viewport={"width": shot.width, "height": 1400}, color_scheme=shot.scheme)
    page.set_default_timeout(DEADLINE_MS)
    page.goto(address)
    page.wait_for_selector("text=41062F")
    return page


def take(page: Page, shot: Shot) -> None:
    shoot(page, IMAGES / shot.name, top=top_of(page, shot.top) if shot.top else 0, height=shot.height)
    page.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder, browser = Path(scratch), chromium(playwright)
        for name, text in reports(folder).items():
            file = folder / f"{name}.html"
            file.write_text(text, encoding="utf-8")
            for shot in SHOTS:
                if shot.page == name:
                    take(opened(browser, file, shot.width, scheme=shot.scheme), shot)
        with lab(folder / "lab") as address:
            for shot in LAB_SHOTS:
                take(opened_lab(browser, address, shot), shot)
        browser.close()


if __name__ == "__main__":
    main()
