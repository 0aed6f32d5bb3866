"""Real nightly runs on this machine, one after the other: the same runner on both sides, and one slowed on purpose.

    python benchmarks/nightly_on_host.py                          # 20 nightly runs A/A, 20 with B slowed by 5 %
    python benchmarks/nightly_on_host.py --same 2 --slowed 2      # briefly
    python benchmarks/nightly_on_host.py --json nightly.json       # all figures; run again, it goes on where it was

Each is one of ``harness nightly``: interleaved pairs of fresh processes of the embedded model's own runner, with
the gate's verdict. B is slowed by the runner itself (docs/measuring.md), so what is found is what the gate finds of a
slower kernel. The nightly runs are kept in ``--results-dir``; an interrupted one is finished, those that are there
are not made again. Let nothing else run meanwhile. Exit status 3 where a nightly run could not be measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.gate import Share
from benchmarks.tables import terminal
from harness.compiler import Archive
from harness.core.errors import ExitCode, HarnessError
from harness.devices import HostDevice
from harness.measure import LATENCY
from harness.models.g2p.checkpoints import EMBEDDED
from harness.models.g2p.items import word_item
from harness.models.g2p.word_list import DEFAULT_WORDS, read_words
from harness.native import Runner
from harness.protocol.schema import WorkOrder
from harness.regression.nightly import NightlyRun
from harness.regression.plan import new_plan
from harness.regression.verdicts import judge_nightly
from harness.report.nightly import change, detectable, interval
from harness.results.journal import Plan, SidePlan, UnitPlan, write_plan
from harness.results.nightly import NIGHTLY, NightlyRecord, nightly_runs
from harness.run.builder import CachedBuilder, RunOptions

SAME, SLOWED = "same", "slowed"
MODEL = "g2p"


def side(runner: Runner, words: int, *, slowdown_percent: float = 0.0) -> SidePlan:
    """Return the runner with so many of the shipped words, at even distances."""
    archive: Archive = runner.archive
    shipped = read_words(DEFAULT_WORDS, None)
    chosen = [shipped[at * len(shipped) // words] for at in range(min(words, len(shipped)))]
    items = [word_item(f"w{at:05d}", word.language, word.word) for at, word in enumerate(chosen)]
    order = WorkOrder(
        order_id="nightly",
        archive_sha256=archive.sha256,
        workloads=[archive.metadata.generation(MODEL)],
        items=items,
        slowdown_percent=slowdown_percent,
    )
    return SidePlan(
        path=runner.path.absolute(),
        sha256=runner.sha256,
        runner_bytes=runner.size,
        archive_bytes=archive.path.stat().st_size,
        order=order,
    )


def plan_of(runner: Runner, device: HostDevice, label: str, words: int, percent: float) -> Plan:
    b = side(runner, words, slowdown_percent=percent)
    unit = UnitPlan(name="host/cache", device=device.name, model=label, variant="cache", a=side(runner, words), b=b)
    return new_plan("itself", [unit], facts={device.name: device.facts()})


def go_on(results: Path, folder: Path, plan: Plan, device: HostDevice, console: Console) -> NightlyRecord:
    """Measure what is missing of the nightly run and judge it."""

    def show(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False, end="\r" if console.is_terminal else "\n")

    # On a terminal one line shows all pairs; in a file a line each would be too many.
    notify = show if console.is_terminal else lambda _line: None
    return judge_nightly(results, folder, NightlyRun(folder, plan, {device.name: device}, notify=notify).run())


def row(record: NightlyRecord, percent: float) -> list[str]:
    assert record.verdicts is not None
    cell = next(cell for unit in record.verdicts.units for cell in unit.cells if cell.metric == LATENCY)
    parts = [one for unit in record.verdicts.units for one in unit.cells if one != cell]
    others = [f"{one.metric} {one.verdict}" for one in parts if one.verdict != "pass"]
    again = "" if cell.second is None or cell.second.change is None else f"{cell.second.change:+.2%}"
    return [
        record.night_id,
        f"{percent:+.0f} %" if percent else "none",
        record.verdicts.verdict,
        change(cell),
        interval(cell),
        detectable(cell),
        again,
        ", ".join(others) or "all pass",
    ]


def show(console: Console, records: Sequence[NightlyRecord]) -> dict[str, Any]:
    """Show the table of all nightly runs, and how many of each kind were flagged."""
    table = Table()
    titles = ("nightly run", "slowed by", "verdict", "change", "95 % interval", "would be found", "again", "parts")
    for title in titles:
        table.add_column(title, overflow="fold")
    counts: dict[str, Counter[str]] = {SAME: Counter(), SLOWED: Counter()}
    for record in records:
        table.add_row(*row(record, record.slowed))
        counts[SLOWED if record.slowed else SAME][record.state] += 1
    console.print(table)
    for kind, of in counts.items():
        if total := of.total():
            verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(of.items()))
            console.print(f"{kind}: {total} nightly runs, {verdicts}; flagged (FAIL): {Share(of['fail'], total)}")
    return {kind: dict(of) for kind, of in counts.items()}


def main(
    same: Annotated[int, typer.Option(min=0, help="nightly runs with the same runner on both sides")] = 20,
    slowed: Annotated[int, typer.Option(min=0, help="nightly runs with B slowed")] = 20,
    percent: Annotated[float, typer.Option(min=0.1, help="by how much B is slowed")] = 5.0,
    words: Annotated[int, typer.Option(min=1, help="of the shipped ones; more take longer")] = 10,
    results_dir: Annotated[Path, typer.Option(help="where the nightly runs are kept")] = Path("build/nightly-on-host"),
    json_path: Annotated[Path | None, typer.Option("--json", help="write all verdicts here")] = None,
) -> None:
    """Make the nightly runs that are missing, and print the gate's verdict on each."""
    console = terminal()
    builder = CachedBuilder(console.print)
    options = replace(RunOptions(), target="llvm")
    archive = builder.archive(options, builder.workloads(options, console.print), "cache", lambda _line: None)
    runner = builder.runner(archive, lambda _line: None)
    device = HostDevice()
    wanted = {0.0: same, percent: slowed}
    done: list[NightlyRecord] = []
    for record in nightly_runs(results_dir):
        sha256 = record.plan.units[0].b.sha256
        if sha256 == runner.sha256 and len(record.plan.units[0].b.order.items) == words:
            if record.verdicts is None:
                console.print(f"nightly run {record.night_id} goes on")
                record = go_on(results_dir, record.folder, record.plan, device, console)
            done.append(record)
    # In turn, so that whatever the machine does in these hours it does to both kinds.
    while missing := [kind for kind in wanted if _count(done, kind) < wanted[kind]]:
        kind = min(missing, key=lambda one: _count(done, one) / wanted[one])
        began = time.monotonic()
        plan = plan_of(runner, device, EMBEDDED, words, kind)
        folder = results_dir / NIGHTLY / plan.night_id
        write_plan(folder, plan)
        done.append(go_on(results_dir, folder, plan, device, console))
        total = sum(wanted.values())
        cells = row(done[-1], kind)
        console.print(
            f"{len(done)} of {total}: slowed {cells[1]}, {cells[2]}, {cells[3]} ({time.monotonic() - began:.0f} s)",
            highlight=False,
        )
    counts = show(console, done)
    if json_path:
        verdicts = [
            {"slowed_percent": record.slowed, **record.verdicts.model_dump(mode="json")}
            for record in done
            if record.verdicts
        ]
        json_path.write_text(
            json.dumps({"words": words, "counts": counts, "nightly_runs": verdicts}, indent=1) + "\n", encoding="utf-8"
        )
    if any(record.state == "inconclusive" for record in done):
        sys.exit(ExitCode.INFRASTRUCTURE)


def _count(records: Sequence[NightlyRecord], percent: float) -> int:
    return sum(record.slowed == percent for record in records)


if __name__ == "__main__":
    try:
        typer.run(main)
    except HarnessError as error:
        print(f"nightly_on_host: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
