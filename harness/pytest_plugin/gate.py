"""Report the gate's test: the verdict as text, a warning, or that nothing was decided."""

from __future__ import annotations

from harness.core.errors import HarnessError
from harness.report.figures import DASH
from harness.report.nightly import change, detectable, headline, interval
from harness.results.nightly import NightlyRecord, causes, judged


class GateUndecided(HarnessError):
    """The nightly run that should judge a run has decided nothing."""

    cure = "the causes are in its line; harness nightly --resume NIGHTLY measures the rest"


class GateWarning(UserWarning):
    """The gate found something that it did not prove."""


def gate_message(record: NightlyRecord) -> str:
    """Return verdict and headline, then a line for each cell: estimate, interval and minimum detectable effect."""
    verdicts = judged(record)
    lines = [f"{verdicts.verdict.upper()}: {headline(verdicts)} (harness nights {record.night_id})"]
    for unit in verdicts.units:
        for cell in unit.cells:
            figures = f"{change(cell)} [{interval(cell)}], would be found {detectable(cell)}"
            lines.append(
                f"  {unit.unit} {cell.metric}: {cell.verdict}, {figures if change(cell) != DASH else cell.cause}"
            )
    return "\n".join([*lines, *(f"  {name}: {cause or verdict}" for name, verdict, cause in causes(verdicts))])


def require_decided(record: NightlyRecord) -> None:
    """Raise GateUndecided if the nightly run decided nothing."""
    if judged(record).verdict == "inconclusive":
        raise GateUndecided(gate_message(record))
