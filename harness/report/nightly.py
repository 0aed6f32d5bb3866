"""Report one nightly run: the verdict, why, and a line for each cell, for a terminal and for a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from harness.measure import LATENCY
from harness.report.conditions import record_warnings
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, megabytes
from harness.report.reproduce import nightly_reproduction
from harness.results.journal import Journal, SidePlan, read_journal
from harness.results.nightly import CellFacts, DriftFacts, LimitFacts, NightlyRecord, UnitFacts, Verdicts, causes

TONES = {"pass": Tone.GOOD, "fail": Tone.BAD}
_FOUND = (
    "A PASS means that a change of the size under “would be found” would have been seen, with a probability of 95 %."
)
_PARTS = "Parts count where their change is worth 1 % of the latency; “share” is what they take of it."


def nightly_report(record: NightlyRecord, journal: Journal | None = None) -> list[Block]:
    """Return the blocks of a nightly run in any state, the verdict first.

    Its journal is read unless it is given. Raises RunDamaged.
    """
    verdicts = record.verdicts
    journal = journal or read_journal(record.folder)
    warnings = [Line(text, Tone.UNSURE) for text in record_warnings(record.plan.units, journal)]
    if verdicts is None or record.plan.calibrate:
        return [Line(f"nightly run {record.night_id}: {_pending(record)}", Tone.UNSURE), *warnings, *_facts(record)]
    tone = TONES.get(verdicts.verdict, Tone.UNSURE)
    return [
        Line(f"{verdicts.verdict.upper()}  ·  {headline(verdicts)}", tone),
        *warnings,
        *_warnings(record, verdicts),
        *_cells(verdicts),
        *_limits(verdicts),
        *_facts(record),
    ]


def headline(verdicts: Verdicts) -> str:
    """Return the basis of the verdict, in one line."""
    found = [(name, verdict) for name, verdict, _ in causes(verdicts)]
    worst = [name for name, verdict in found if verdict == verdicts.verdict]
    cells = sum(len(unit.cells) for unit in verdicts.units)
    emulated = [unit.emulated for unit in verdicts.units]
    if verdicts.verdict == "pass" and all(emulated):
        return f"nothing larger or different than {verdicts.baseline}; the times are an emulator's, and are not judged"
    if verdicts.verdict == "pass":
        return f"nothing slower, larger or different than {verdicts.baseline} in {cells} cells{_found(verdicts)}"
    if verdicts.verdict == "warn" and verdicts.drifts and not worst:
        return f"drift against the nightly runs before in {len(verdicts.drifts)} of {cells} cells"
    shown = ", ".join(worst[:3]) + (f" and {len(worst) - 3} more" if len(worst) > 3 else "")
    return f"{shown or 'nothing was decided'}, against {verdicts.baseline}"


def _found(verdicts: Verdicts) -> str:
    """Return the change that a pass would have found: of all units' latencies, the largest detectable change."""
    judged = [unit for unit in verdicts.units if not unit.emulated]
    known = [cell.first.detectable for unit in judged for cell in unit.cells if cell.metric == LATENCY]
    least = [one for one in known if one is not None]
    return f"; {_percent(max(least))} of latency would have been found" if least else ""


def change(cell: CellFacts) -> str:
    """Return a cell's change as ``+8.1 %``; a dash for a session without figures."""
    return _percent(cell.first.change)


def interval(cell: CellFacts) -> str:
    first = cell.first
    if first.change_low is None or first.change_high is None:
        return DASH
    return f"{_percent(first.change_low)} … {_percent(first.change_high)}"


def detectable(cell: CellFacts) -> str:
    """Return the minimum detectable effect of the first session, or a dash."""
    return DASH if cell.first.detectable is None else f"from {_percent(cell.first.detectable)}"


def drift_text(drift: DriftFacts) -> str:
    """Return what drifted, by how much, since when, and the commits between."""
    where = f"{drift.device}/{drift.variant} {drift.metric}"
    since = f"{_percent(drift.magnitude)} since nightly run {drift.night_id} (the one before it: {drift.night_before})"
    if drift.commits:
        return f"drift: {where} {since}; commits: {'; '.join(drift.commits)}"
    if drift.commit and drift.commit_before:
        if drift.commit == drift.commit_before:
            return f"drift: {where} {since}; both at commit {drift.commit[:12]}"
        return f"drift: {where} {since}; commits {drift.commit_before[:12]}..{drift.commit[:12]}"
    return f"drift: {where} {since}"


def _pending(record: NightlyRecord) -> str:
    if record.plan.calibrate:
        return f"{record.plan.calibrate} sessions of the baseline against itself, to calibrate the device"
    return f"has not ended; resume it with: harness nightly --resume {record.night_id}"


def _warnings(record: NightlyRecord, verdicts: Verdicts) -> Iterator[Block]:
    if record.slowed:
        yield Line(
            f"a side was slowed down by {record.slowed:g} % on purpose: this nightly run tests the gate, not the model",
            Tone.UNSURE,
        )
    emulated = list(dict.fromkeys(unit.device for unit in verdicts.units if unit.emulated))
    if emulated:
        yield Line(f"emulated, so that their times are shown and not judged: {', '.join(emulated)}", Tone.UNSURE)
    for drift in verdicts.drifts:
        yield Line(drift_text(drift), Tone.UNSURE)


def _cells(verdicts: Verdicts) -> Iterator[Block]:
    cells = [cell for unit in verdicts.units for cell in unit.cells]
    rows = [_row(unit, cell) for unit in verdicts.units for cell in unit.cells]
    # A tensor workload has no parts.
    parts = f" {_PARTS}" if any(cell.metric != LATENCY for cell in cells) else ""
    yield Table(
        ["cell", "verdict", "change", "95 % interval", "would be found", "share", "cause"],
        rows,
        note=f"{_FOUND}{parts}",
        numbers=False,
    )


def _row(unit: UnitFacts, cell: CellFacts) -> list[str]:
    share = DASH if cell.share is None else f"{cell.share:.0%}"
    return [
        f"{unit.unit} {cell.metric}",
        cell.verdict,
        change(cell),
        interval(cell),
        detectable(cell),
        share,
        cell.cause,
    ]


def _limits(verdicts: Verdicts) -> Iterator[Block]:
    rows = [
        [
            f"{unit.unit} {limit.metric}",
            limit.verdict,
            *limit_figures(limit),
            _percent(limit.change),
            _percent(limit.allowed),
            limit.cause,
        ]
        for unit in verdicts.units
        for limit in unit.limits
    ]
    if rows:
        yield Table(["limit", "verdict", "A", "B", "change", "allowed", "cause"], rows, numbers=False)


def limit_figures(limit: LimitFacts) -> tuple[str, str]:
    """Return A's and B's megabytes; dashes if the limit is no quantity."""
    return megabytes(limit.a), megabytes(limit.b)


def _facts(record: NightlyRecord) -> Iterator[Block]:
    plan = record.plan
    yield Heading(f"Nightly run {record.night_id}")
    rows = [["A", f"baseline {plan.baseline}{_commit([unit.a for unit in plan.units])}"]]
    b = f"baseline {plan.candidate}" if plan.candidate else f"run {plan.run}" if plan.run else "the sources"
    rows.append(["B", b + _commit([unit.b for unit in plan.units])])
    for device, facts in plan.facts.items():
        rows.append(["device", " ".join(str(facts[key]) for key in ("kind", "cpu_model") if facts.get(key)) or device])
    models = dict.fromkeys(unit.model for unit in plan.units)
    rows.append(["model", ", ".join(models)])
    rows.append(["started", plan.started])
    again, doubt = nightly_reproduction(record)
    rows.append(["make it again", again or DASH])
    rows += [["caution", doubt]] if doubt else []
    yield Table(["", ""], rows, numbers=False)


def _commit(sides: list[SidePlan]) -> str:
    git = next((side.git for side in sides if side.git), None)
    return f", commit {git.commit[:12]}{' + changes' if git.dirty else ''}" if git else ""


def _percent(fraction: float | None) -> str:
    return DASH if fraction is None else f"{fraction:+.1%}"
