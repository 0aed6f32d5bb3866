"""Runs and pages that the tests of the HTML report share."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from harness.devices import Knob
from harness.profiling.summary import summarize_profile
from harness.report.html import html_report
from harness.results import Run
from harness.results.files import write_atomically
from harness.results.schema.profile import Overhead, Profiles
from tests.profiling.profiles import PROVENANCE, lines
from tests.results.samples import make_run

KNOBS = (
    Knob(name="pinned", state="applied", detail="cores 1, verified"),
    Knob(name="fixed_performance", state="denied", detail="Permission denial"),
    Knob(name="stay_awake", state="applied", detail="was 0", restored=False),
)
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>&amp;\u2028'"


def three_runs(root: Path) -> list[Run]:
    """A with a mismatch, B twice as slow with knobs and a name that attacks the page, C emulated."""
    return [
        make_run(root, wrong=("w0",)),
        make_run(root, scale=2.0, seed=2, device=HOSTILE, knobs=KNOBS),
        make_run(root, scale=3.0, seed=3, emulated=True, knobs=KNOBS),
    ]


def add_profile(run: Run, *, emulated: bool = False, cost: float | None = None, operators: int = 1) -> None:
    """A profile of G2P in a run's folder; ``cost`` of profiling, ``operators`` in a row in each name."""
    found = summarize_profile(
        lines(),
        PROVENANCE,
        workload="g2p",
        unit="word",
        variant="cache",
        precision="fp32",
        archive_sha256="0",
        emulated=emulated,
    )
    if cost is not None:
        overhead = Overhead(items=9, ratio=cost, low=cost - 0.01, high=cost + 0.01, plain_ns=1.0, profiled_ns=cost)
        found = found.model_copy(update={"overhead": overhead})
    sites = [
        site.model_copy(update={"operators": [f"{name}_{at}" for at in range(operators) for name in site.operators]})
        for site in found.sites
    ]
    found = found.model_copy(update={"sites": sites}) if operators > 1 else found
    write_atomically(run.folder / "profile.json", Profiles(workloads=[found]))


def write(page: str, folder: Path) -> Path:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return path


def page_of(runs: list[Run], folder: Path) -> Path:
    return write(html_report(runs), folder)


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._quiet = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._quiet += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.text += data


def embedded(page: str, name: str) -> Any:
    """What a packed script element holds."""
    found = re.search(rf'<script type="application/octet-stream" id="{name}">([^<]*)</script>', page)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))
