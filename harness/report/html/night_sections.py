"""Make the page's sections about nightly runs: a card each, tables, pictures of the units, raw data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.conditions import record_warnings
from harness.report.document import Block, Heading, Table
from harness.report.html.blobs import RawTable, raw_night
from harness.report.html.cells import Cell
from harness.report.html.nights import NightView
from harness.report.night import drift_text, headline, limit_figures, night_report
from harness.report.reproduce import night_reproduction
from harness.results.journal import RunLine
from harness.results.nights import CellFacts, LimitFacts, UnitFacts, causes

EXACT_PASSES = 200_000
"""A page contains exact nanoseconds and parts for up to so many timed passes of all its nightly runs."""
VERDICTS = ("pass", "warn", "fail", "inconclusive")


@dataclass(frozen=True)
class NightCard:
    """Hold the verdict of one nightly run, shown on top of the page."""

    night: NightView
    verdict: str
    """One of VERDICTS; a nightly run that has not been judged is inconclusive."""
    state: str
    text: str
    told: list[str]
    """Causes of everything that did not pass, drifts, and warnings about the device."""
    again: str | None
    """The commands that measure the same sides again."""
    doubt: str | None
    """Why the commands may measure others."""


def card(night: NightView) -> NightCard:
    record = night.record
    verdicts = record.verdicts
    told = (
        [f"{name}: {verdict}{': ' + cause if cause else ''}" for name, verdict, cause in causes(verdicts)]
        if verdicts
        else []
    )
    told += [drift_text(drift) for drift in verdicts.drifts] if verdicts else []
    told += [f"a side was slowed down by {record.slowed:g} % on purpose"] if record.slowed else []
    told += record_warnings(record.plan.units, night.journal)
    text = headline(verdicts) if verdicts else f"{sum(len(unit.pairs) for unit in night.units)} pairs so far"
    verdict = record.state if record.state in VERDICTS else "inconclusive"
    return NightCard(night, verdict, record.state, text, told, *night_reproduction(record))


def night_blocks(night: NightView) -> list[Block]:
    """Return the whole report of a nightly run, under a heading."""
    title = Heading(f"Night {night.record.night_id}")
    # A page of several nights has the title before the verdict, so the facts need another title.
    blocks = night_report(night.record, night.journal)
    return [title, *(Heading("Facts") if block == title else block for block in blocks)]


def tables(night: NightView) -> list[Table]:
    """Return the tables of cells and limits: estimate, interval, detectable change, cause."""
    blocks = night_report(night.record, night.journal)
    ends = next((at for at, block in enumerate(blocks) if isinstance(block, Heading)), len(blocks))
    return [block for block in blocks[:ends] if isinstance(block, Table)]


def night_cells(night: NightView) -> Iterator[Cell]:
    """Yield every figure of a nightly run for the table of all cells."""
    for unit in night.record.verdicts.units if night.record.verdicts else ():
        for cell in unit.cells:
            yield from _cell(night, unit.device, unit.variant, cell)
        for limit in unit.limits:
            yield _limit(night, unit, limit)


def _limit(night: NightView, unit: UnitFacts, limit: LimitFacts) -> Cell:
    change = None if limit.change is None else 100 * limit.change
    a, b = limit_figures(limit)
    return Cell(
        run=night.name,
        device=unit.device,
        variant=unit.variant,
        metric=limit.metric if change is None else f"{limit.metric}, change",
        unit="" if change is None else "%",
        value=change,
        text="–" if change is None else f"{change:+.2f}",
        label=limit.cause or ("" if change is None else f"{a} → {b}"),
        verdict=limit.verdict,
    )


def _cell(night: NightView, device: str, variant: str, cell: CellFacts) -> Iterator[Cell]:
    for session, found in (("", cell.first), (", confirmation", cell.second)):
        if found is None:
            continue
        change, low, high, least = (
            None if value is None else 100 * value
            for value in (found.change, found.change_low, found.change_high, found.detectable)
        )
        yield Cell(
            run=night.name,
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


def raw_nights(nights: Sequence[NightView]) -> Iterator[tuple[str, RawTable]]:
    """Yield every timed pass, by the name of its file."""
    passes = sum(len(line.samples) for night in nights for unit in night.units for line in unit.runs)
    for night in nights:
        for at, unit in enumerate(night.units, 1):
            if unit.runs:
                constants = {"night": night.record.night_id, "unit": unit.plan.name}
                yield (
                    f"passes-{night.name}-{at}",
                    raw_night(unit.runs, unit.words, constants, exact=passes <= EXACT_PASSES),
                )


_SIDE = {"order": {"items": {"__all__": {"input"}}}}
_TENSORS: dict[str, Any] = {"units": {"__all__": {"a": _SIDE, "b": _SIDE}}}
"""The fields of a plan that take megabytes."""


def night_documents(night: NightView) -> dict[str, Any]:
    """Return the small files without tensors. The journal is without its passes, which are in the raw tables."""
    verdicts = night.record.verdicts
    runs = [_without_passes(line) for unit in night.units for line in unit.runs]
    return {
        f"plan-{night.name}": night.record.plan.model_dump(mode="json", exclude=_TENSORS),
        f"verdicts-{night.name}": verdicts.model_dump(mode="json") if verdicts else None,
        f"journal-{night.name}": runs,
    }


def _without_passes(line: RunLine) -> dict[str, Any]:
    return line.model_dump(mode="json", exclude={"samples", "parts", "answers"})
