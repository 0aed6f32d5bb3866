"""``harness nightly``: has the candidate become slower, larger or wrong since the baseline?"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cache import Cache, content_key
from harness.cli.app import app
from harness.devices import Device, Unavailable, opened, parse_device
from harness.errors import UsageError
from harness.journal import Plan, SidePlan, UnitPlan, read_plan, write_plan
from harness.maker import CachedMaker, RunOptions, Variant
from harness.measure import Floor, GateVerdict, Judgement
from harness.nightly import Night, NightResult, UnitResult, new_plan, refuse_emulated
from harness.protocol import WorkOrder
from harness.results.baselines import Baseline, Baselines
from harness.results.nights import NIGHTS, find_night, read_floor, write_floor, write_verdicts

ResultsDir = Annotated[Path, typer.Option("--results-dir", help="folder of the runs", show_default=True)]
DEFAULT_RESULTS = Path("results")
STYLES = {
    GateVerdict.PASS: "green",
    GateVerdict.WARN: "yellow",
    GateVerdict.FAIL: "bold red",
    GateVerdict.INCONCLUSIVE: "yellow",
}


@app.command(
    epilog="Examples:\n\n  harness nightly --baseline release-1.4"
    "\n\n  harness nightly --baseline release-1.4 --calibrate 20"
    "\n\n  harness nightly --resume latest --time-budget 30"
)
def nightly(
    baseline: Annotated[str | None, typer.Option(help="a name of `harness baseline list`")] = None,
    candidate: Annotated[str | None, typer.Option(help="another baseline; unless given, the sources")] = None,
    device: Annotated[str, typer.Option(help="as for pytest suites")] = "host",
    serial: Annotated[str | None, typer.Option(help="as for pytest suites")] = None,
    words: Annotated[
        int | None, typer.Option(min=1, help="of the baseline's, at even distances; all unless given")
    ] = None,
    calibrate: Annotated[int, typer.Option(min=0, help="sessions of the baseline against itself: its floor")] = 0,
    resume: Annotated[str | None, typer.Option(help="go on with a night: its id, or latest")] = None,
    time_budget: Annotated[float | None, typer.Option(min=0.01, help="minutes; no pair is begun after them")] = None,
    cooldown: Annotated[float, typer.Option(min=0, help="seconds to wait for a device to be fit")] = 180.0,
    deadline: Annotated[float, typer.Option(min=1, help="seconds of one run")] = 600.0,
    results_dir: ResultsDir = DEFAULT_RESULTS,
) -> None:
    """Measure a candidate beside a baseline in interleaved pairs, and judge (docs/measuring.md).

    Exit status 0 for pass and warn, 1 for a regression, 3 for what could not be decided.
    """
    if (baseline is None) == (resume is None):
        raise UsageError("name either a --baseline to begin a night, or a night to --resume")
    cache = Cache(notice=_say)
    with opened(parse_device(device, serial=serial), cache=cache, notify=_say) as found:
        devices = [one for one in found if not isinstance(one, Unavailable)]
        for lacking in found:
            if isinstance(lacking, Unavailable):
                raise lacking.error
        refuse_emulated(devices)
        by_name = {one.name: one for one in devices}
        if resume is not None:
            folder = find_night(results_dir, resume)
            plan = read_plan(folder)
            absent = sorted({unit.device for unit in plan.units} - set(by_name))
            if absent:
                raise UsageError(f"the night was of {', '.join(absent)}", cure="choose them with --device")
        else:
            assert baseline is not None
            plan = _plan(Baselines(results_dir), baseline, candidate, devices, calibrate, words, results_dir)
            folder = results_dir / NIGHTS / plan.night_id
        budget = None if time_budget is None else 60 * time_budget
        night = Night(folder, plan, by_name, notify=_say, budget=budget, cooldown=cooldown, deadline=deadline)
        _say(f"night {plan.night_id}")
        if plan.calibrate:
            _show_floors(plan, night.calibrate(), by_name, results_dir)
            return
        result = night.run()
    write_verdicts(folder, result)
    show(result)
    raise typer.Exit(int(result.exit_code))


def _plan(
    baselines: Baselines,
    name: str,
    candidate: str | None,
    devices: list[Device],
    sessions: int,
    words: int | None,
    results_dir: Path,
) -> Plan:
    kept = baselines.get(name)
    units = []
    for variant, facts in kept.variants.items():
        runner = baselines.runner(name, variant)
        a = SidePlan(
            path=runner.path.absolute(),
            sha256=runner.sha256,
            runner_bytes=runner.size,
            archive_bytes=runner.archive_bytes,
            order=_thinned(runner.order, words),
        )
        for device in devices:
            if device.target != facts.target:
                continue
            b = a if sessions else _candidate(baselines, kept, candidate, variant, a)
            units.append(
                UnitPlan(
                    name=f"{device.name}/{variant}",
                    device=device.name,
                    model=kept.manifest.checkpoint.label if kept.manifest.checkpoint else "?",
                    variant=variant,
                    a=a,
                    b=b,
                    floor=read_floor(results_dir, device_key(device, variant)),
                    allowance=kept.manifest.allowance,
                )
            )
    if not units:
        targets = ", ".join(sorted({facts.target for facts in kept.variants.values()}))
        raise UsageError(
            f"baseline {name} is for {targets}, which no chosen device runs", cure="choose another --device"
        )
    plan = new_plan(name, units, calibrate=sessions, facts={device.name: device.facts() for device in devices})
    write_plan(results_dir / NIGHTS / plan.night_id, plan)
    return plan


def _thinned(order: WorkOrder, words: int | None) -> WorkOrder:
    count = len(order.items)
    if words is None or words >= count:
        return order
    return order.model_copy(update={"items": [order.items[at * count // words] for at in range(words)]})


def _candidate(baselines: Baselines, kept: Baseline, candidate: str | None, variant: str, a: SidePlan) -> SidePlan:
    """Another baseline's runner, or one compiled and built now with the options of the baseline's run."""
    if candidate is not None:
        runner = baselines.runner(candidate, variant)
        return SidePlan(
            path=runner.path.absolute(),
            sha256=runner.sha256,
            runner_bytes=runner.size,
            archive_bytes=runner.archive_bytes,
            order=runner.order.model_copy(update={"items": a.order.items}),
        )
    known = {field.name for field in fields(RunOptions)} - {"words", "results_dir"}
    options = RunOptions(**{key: value for key, value in kept.manifest.options.items() if key in known})
    maker, which = CachedMaker(_say), cast(Variant, variant)
    archive = maker.archive(options, maker.checkpoint(options), which, _say)
    built = maker.runner(archive, _say)
    order = a.order.model_copy(
        update={"archive_sha256": archive.sha256, "models": [archive.metadata.order_model(a.order.models[0].name)]}
    )
    return SidePlan(
        path=built.path.absolute(),
        sha256=built.sha256,
        runner_bytes=built.size,
        archive_bytes=archive.path.stat().st_size,
        order=order,
    )


def device_key(device: Device, variant: str) -> str:
    """Of what a floor is for: this very device, and the variant that was run on it."""
    facts = device.facts()
    what = {key: facts.get(key) for key in ("kind", "name", "cpu_model", "model")}
    return content_key({**what, "variant": variant})


def _show_floors(plan: Plan, floors: dict[str, Floor], devices: dict[str, Device], results_dir: Path) -> None:
    for unit in plan.units:
        floor = floors.get(unit.name)
        if floor is None:
            print(f"{unit.name}: no session could be measured")
            continue
        write_floor(results_dir, device_key(devices[unit.device], unit.variant), floor)
        print(
            f"{unit.name}: 99 of 100 sessions of the baseline against itself stay within {floor.change:.1%} "
            f"(process noise {floor.noise:.1%}, {floor.sessions} sessions of {floor.pairs} pairs)"
        )


def show(result: NightResult) -> None:
    """Verdict first, then a line for each cell."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Text(result.verdict.value.upper(), style=STYLES[result.verdict]))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("cell", "verdict", "change", "95 % interval", "would be found", "cause"):
        table.add_column(title, overflow="fold")
    for unit in result.units:
        table.add_row(*_latency_row(unit))
        for limit in unit.limits:
            verdict = Text(limit.verdict.value, style=STYLES[limit.verdict])
            table.add_row(f"{unit.unit.name} {limit.metric}", verdict, "", "", "", Text(limit.cause))
    console.print(table)


def _latency_row(unit: UnitResult) -> list[str | Text]:
    found = unit.latency
    verdict = Text(found.verdict.value, style=STYLES[found.verdict])
    first = found.sessions.first
    figures = ["–", "–", "–"]
    if isinstance(first, Judgement):
        figures = [
            f"{first.change:+.1%}",
            f"{first.change_low:+.1%} … {first.change_high:+.1%}",
            f"from {first.detectable:+.1%}",
        ]
    return [f"{unit.unit.name} latency", verdict, *figures, Text(found.cause)]


def _say(message: str) -> None:
    print(f"harness: {message}", file=sys.stderr)
