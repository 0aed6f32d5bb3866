"""Report runs to people, on a terminal and in Markdown."""

from __future__ import annotations

from harness.measure import Times
from harness.report.comparison import Incomparable, Side, comparison_report
from harness.report.document import Block
from harness.report.render import to_markdown, to_terminal
from harness.report.run import run_report, verdict_text
from harness.results import Run
from harness.results.summarize import summarize_run, timed_samples

__all__ = [
    "Block",
    "Incomparable",
    "compare_runs",
    "report_run",
    "sides",
    "to_markdown",
    "to_terminal",
    "verdict_text",
]


def report_run(run: Run) -> list[Block]:
    """Return the report of one stored run; raises RunDamaged."""
    return run_report(run.manifest(), summarize_run(run))


def compare_runs(a: Run, b: Run) -> list[Block]:
    """Return the report of two stored runs; raises RunDamaged and Incomparable."""
    return comparison_report(*sides(a, b))


def sides(a: Run, b: Run) -> tuple[Side, Side]:
    """Read two stored runs for a comparison; raises RunDamaged."""
    return _side(a, "A"), _side(b, "B")


def _side(run: Run, name: str) -> Side:
    manifest = run.manifest()
    samples: dict[str, dict[tuple[str, str], Times]] = {}
    # Times of an emulator cannot be compared with anything.
    for workload in () if manifest.emulated else manifest.alike:
        items = {line.item: (line.subset, line.label) for line in run.reference() if line.workload == workload}
        taken = timed_samples(manifest, run.samples(), workload)
        samples[workload] = {items[item]: times for item, times in taken.items() if item in items}
    return Side(manifest, summarize_run(run), samples, name)
