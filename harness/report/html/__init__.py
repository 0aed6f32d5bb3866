"""Reports as one HTML file that needs nothing else: pictures, tables, raw data. The third face of the same figures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.report.document import Block
from harness.report.html.page import render_page, report_blocks
from harness.report.html.samples import samples_bytes
from harness.report.html.views import View, view
from harness.results import Run
from harness.results.errors import writing

__all__ = ["html_report", "text_report", "write_page"]

EXACT_BYTES = 40_000_000
"""Up to so many bytes of samples (about 100,000), each has its nanoseconds and its parts in the page."""


def html_report(runs: Sequence[Run]) -> str:
    """The page of these runs, the first being the baseline; raises RunDamaged, and UsageError without any run."""
    return render_page(_views(runs))


def text_report(runs: Sequence[Run]) -> list[Block]:
    """The page's figures as blocks for a terminal or Markdown; raises the same."""
    return report_blocks(_views(runs))


def _views(runs: Sequence[Run]) -> list[View]:
    if not runs:
        raise UsageError("a report needs at least one run", cure="name runs: harness runs lists them")
    parts = sum(samples_bytes(run) for run in runs) <= EXACT_BYTES
    return [view(run, at, parts=parts) for at, run in enumerate(runs)]


def write_page(path: Path, page: str) -> None:
    """Under another name, then renamed; raises StorageFull or StorageUnwritable."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(page, encoding="utf-8")
            partial.replace(path)
    finally:
        # The folder itself may be what is missing.
        with contextlib.suppress(OSError):
            partial.unlink()
