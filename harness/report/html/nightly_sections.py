"""Make the page's sections about nightly runs: a card each, tables, pictures of the units, raw data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.conditions import record_warnings
from harness.report.document import Block, Heading, Table
from harness.report.html.blobs import RawTable, raw_nightly
from harness.report.html.cells import Cell
from harness.report.html.nightly import NightlyView
from harness.report.nightly import drift_text, headline, limit_figures, nightly_report
from harness.report.reproduce import nightly_reproduction
from harness.results.journal import RunLine
from harness.results.nightly import CellFacts, LimitFacts, UnitFacts, causes

EXACT_PASSES = 200_000
"""A page contains exact nanoseconds and parts for up to so many timed passes of all its nightly runs."""
VERDICTS = ("pass", "warn", "fail", "inconclusive")


@dataclass(frozen=True)
class NightlyCard:
    """Hold the verdict of one nightly run, shown on top of the page."""

    nightly: NightlyView
    verdict: str
    """One of VERDICTS; a nightly run that has not been judged is inconclusive."""
    state: str
    text: str
    warnings: list[str]
    """Causes of everything that did not pass, drifts, and warnings about the device."""
    again: str | None
    """The commands that measure the same sides again."""
    doubt: str | None
    """Why the commands may measure others."""


def card(nightly: NightlyView) -> NightlyCard:
    record = nightly.record
    verdicts = record.verdicts
    warnings = (
        [f"{name}: {verdict}{': ' + cause if cause else ''}" for name, verdict, cause in causes(verdicts)]
        if verdicts
        else []
    )
    warnings += [drift_text(drift) for drift in verdicts.drifts] if verdicts else []
    warnings += [f"a side was slowed down by {record.slowed:g} % on purpose"] if record.slowed else []
    warnings += record_warnings(record.plan.units, nightly.journal)
    text = headline(verdicts) if verdicts else f"{sum(len(unit.pairs) for unit in nightly.units)} pairs so far"
    verdict = record.state if record.state in VERDICTS else "inconclusive"
    return NightlyCard(nightly, verdict, record.state, text, warnings, *nightly_reproduction(record))


def nightly_blocks(nightly: NightlyView) -> list[Block]:
    """Return the whole report of a nightly run, under a heading."""
    title = Heading(f"Nightly run {nightly.record.night_id}")
    # A page of several nightly runs has the title before the verdict, so the facts need another title.
    blocks = nightly_report(nightly.record, nightly.journal)
    return [title, *(Heading("Facts") if block == title else block for block in blocks)]


def tables(nightly: NightlyView) -> list[Table]:
    """Return the tables of cells and limits: estimate, interval, detectable change, cause."""
    blocks = nightly_report(nightly.record, nightly.journal)
    ends = next((at for at, block in enumerate(blocks) if isinstance(block, Heading)), len(blocks))
    return [block for block in blocks[:ends] if isinstance(block, Table)]


def nightly_cells(nightly: NightlyView) -> Iterator[Cell]:
    """Yield every figure of a nightly run for the table of all cells."""
    for unit in nightly.record.verdicts.units if nightly.record.verdicts else ():
        for cell in unit.cells:
            yield from _cell(nightly, unit.device, unit.variant, cell)
        for limit in unit.limits:
            yield _limit(nightly, unit, limit)


def _limit(nightly: NightlyView, unit: UnitFacts, limit: LimitFacts) -> Cell:
    change = None if limit.change is None else 100 * limit.change
    a, b = limit_figures(limit)
    return Cell(
        run=nightly.name,
        device=unit.device,
        variant=unit.variant,
        metric=limit.metric if change is None else f"{limit.metric}, change",
        unit="" if change is None else "%",
        value=change,
        text="–" if change is None else f"{change:+.2f}",
        label=limit.cause or ("" if change is None else f"{a} → {b}"),
        verdict=limit.verdict,
    )


def _cell(nightly: NightlyView, device: str, variant: str, cell: CellFacts) -> Iterator[Cell]:
    for session, found in (("", cell.first), (", confirmation", cell.second)):
        if found is None:
            continue
        change, low, high, least = (
            None if value is None else 100 * value
            for value in (found.change, found.change_low, found.change_high, found.detectable)
        )
        yield Cell(
            run=nightly.name,
            device=device,
            variant=variant,
            metric=f"{cell.metric}, change{session}",
            unit="%",
            value=change,
            text="–" if change is None else f"{change:+.2f}",
            label=found.cause or cell.cause,
            verdict=cell.verdict,
            low=low,
            high=high,
            detectable=least,
        )


def raw_nightly_runs(nightly_runs: Sequence[NightlyView]) -> Iterator[tuple[str, RawTable]]:
    """Yield every timed pass, by the name of its file."""
    passes = sum(len(line.samples) for nightly in nightly_runs for unit in nightly.units for line in unit.runs)
    for nightly in nightly_runs:
        for at, unit in enumerate(nightly.units, 1):
            if unit.runs:
                constants = {"night": nightly.record.night_id, "unit": unit.plan.name}
                yield (
                    f"passes-{nightly.name}-{at}",
                    raw_nightly(unit.runs, unit.words, constants, exact=passes <= EXACT_PASSES),
                )


_SIDE = {"order": {"items": {"__all__": {"input"}}}}
_TENSORS: dict[str, Any] = {"units": {"__all__": {"a": _SIDE, "b": _SIDE}}}
"""The fields of a plan that take megabytes."""


def nightly_documents(nightly: NightlyView) -> dict[str, Any]:
    """Return the small files without tensors. The journal is without its passes, which are in the raw tables."""
    verdicts = nightly.record.verdicts
    runs = [_without_passes(line) for unit in nightly.units for line in unit.runs]
    return {
        f"plan-{nightly.name}": nightly.record.plan.model_dump(mode="json", exclude=_TENSORS),
        f"verdicts-{nightly.name}": verdicts.model_dump(mode="json") if verdicts else None,
        f"journal-{nightly.name}": runs,
    }


def _without_passes(line: RunLine) -> dict[str, Any]:
    return line.model_dump(mode="json", exclude={"samples", "parts", "answers"})
