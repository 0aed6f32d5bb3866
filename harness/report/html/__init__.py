"""Report runs as one HTML file that needs nothing else: pictures, tables and raw data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.files import replacing
from harness.explain.schema import Explanation
from harness.report.document import Block
from harness.report.history import Commits, commits_of
from harness.report.html.nightly import nightly_view
from harness.report.html.page import Content, render_page, report_blocks
from harness.report.html.samples import samples_bytes
from harness.report.html.views import view
from harness.results import Run
from harness.results.drift import CellHistory, history_of
from harness.results.errors import writing
from harness.results.nightly import NightlyRecord
from harness.results.nightly import nightly_runs as stored_nightly_runs

__all__ = ["explanation_page", "html_report", "text_report", "write_page"]

EXACT_BYTES = 40_000_000
"""A page contains exact nanoseconds and parts for up to so many bytes of samples (about 100,000)."""


def html_report(runs: Sequence[Run] = (), nightly_runs: Sequence[NightlyRecord] = ()) -> str:
    """Return the page of these runs and nightly runs; the first run is the baseline of the others.

    Raises RunDamaged, and UsageError without any run or nightly run.
    """
    return render_page(_content(runs, nightly_runs))


def explanation_page(found: Explanation) -> str:
    """Return the page of one explanation."""
    return render_page(Content(explanations=[found]))


def text_report(runs: Sequence[Run] = (), nightly_runs: Sequence[NightlyRecord] = ()) -> list[Block]:
    """Return the page's figures as blocks for a terminal or Markdown; raises the same errors as the page."""
    return report_blocks(_content(runs, nightly_runs))


def _content(runs: Sequence[Run], nightly_runs: Sequence[NightlyRecord]) -> Content:
    if not runs and not nightly_runs:
        raise UsageError(
            "a report needs at least one run or nightly run",
            cure="name some: harness runs and harness nights list them",
        )
    parts = sum(samples_bytes(run) for run in runs) <= EXACT_BYTES
    histories, commits = _histories(nightly_runs)
    return Content(
        views=[view(run, at, parts=parts) for at, run in enumerate(runs)],
        nightly_runs=[nightly_view(record, at) for at, record in enumerate(nightly_runs)],
        histories=histories,
        commits=commits,
    )


def _histories(shown: Sequence[NightlyRecord]) -> tuple[list[CellHistory], Commits]:
    """Return the histories of these nightly runs' cells, and the commits of their drifts.

    Both cover all nightly runs of their results folders.
    """
    measured = {(unit.device, unit.model, unit.variant) for record in shown for unit in record.plan.units}
    stored = [stored_nightly_runs(results) for results in dict.fromkeys(record.folder.parents[1] for record in shown)]
    found = [history for records in stored for history in history_of(records) if history.cell[:3] in measured]
    return found, commits_of(record for records in stored for record in records)


def write_page(path: Path, page: str) -> None:
    """Write the page under another name, then rename it; raises StorageFull or StorageUnwritable."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(page, encoding="utf-8")
