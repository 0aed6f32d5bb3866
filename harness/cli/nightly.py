"""Define ``harness nightly``: judge whether the candidate has become slower, larger or wrong since the baseline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import completion
from harness.cli.app import app
from harness.cli.documents.nightly import CalibrationDocument, FloorLine
from harness.cli.nights import JUnit, show_nightly
from harness.cli.opening import OpeningCommand, selected
from harness.cli.options import DEFAULT_RESULTS, Json, Markdown, ResultsDir, UploadTo
from harness.cli.output import STDOUT, exclusive, note, print_json, print_line
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices import Device, Unavailable, opened
from harness.measure import Floor
from harness.regression.nightly import NightlyRun, refuse_emulated
from harness.regression.plan import built_candidate, chosen, floor_key, itself, kept_candidate, plan_nightly
from harness.regression.verdicts import exit_code, judge_nightly
from harness.results.baselines import Baselines
from harness.results.journal import Plan, read_plan, write_plan
from harness.results.nightly import NIGHTLY, find_nightly, write_floor
from harness.results.shared import after_runs, checked_url, followed
from harness.results.shared.borrowing import borrow_baseline, nightly_runs_of_all


@app.command(
    cls=OpeningCommand,
    epilog="Examples:\n\n  harness nightly --baseline release-1.4"
    "\n\n  harness nightly --baseline release-1.4 --calibrate 20"
    "\n\n  harness nightly --baseline release-1.4 --device android:all --words 40 --time-budget 60"
    '\n\n  harness nightly --baseline release-1.4 --junit nightly.xml --markdown "$GITHUB_STEP_SUMMARY"'
    "\n\n  harness nightly --baseline release-1.4 --models detector --models bert"
    "\n\n  harness nightly --resume latest --time-budget 30"
    "\n\n  harness nights latest",
)
def nightly(
    context: typer.Context,
    baseline: Annotated[
        str | None, typer.Option(help="a name of `harness baseline list`", autocompletion=completion.baselines)
    ] = None,
    candidate: Annotated[
        str | None,
        typer.Option(help="another baseline; unless given, the sources", autocompletion=completion.baselines),
    ] = None,
    device: Annotated[str, typer.Option(help="as for pytest suites", autocompletion=completion.devices)] = "host",
    words: Annotated[
        int | None, typer.Option(min=1, help="of the baseline's, at even distances; all unless given")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="M", help="only these of the baseline's: g2p, or a model's name; several"),
    ] = None,
    calibrate: Annotated[int, typer.Option(min=0, help="sessions of the baseline against itself: its floor")] = 0,
    resume: Annotated[
        str | None,
        typer.Option(help="resume a nightly run: its id, or latest", autocompletion=completion.nightly_runs),
    ] = None,
    time_budget: Annotated[float | None, typer.Option(min=0.01, help="minutes; no pair is begun after them")] = None,
    emulated: Annotated[
        bool,
        typer.Option("--emulated", help="also emulated devices: their times are labelled and never judged"),
    ] = False,
    cooldown: Annotated[float, typer.Option(min=0, help="seconds to wait for a device to be fit")] = 180.0,
    deadline: Annotated[float, typer.Option(min=1, help="seconds of one run")] = 600.0,
    markdown: Markdown = None,
    junit: JUnit = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: Annotated[str | None, UploadTo] = None,
    as_json: Json = False,
) -> None:
    """Measure a candidate and a baseline in interleaved pairs, and judge (docs/measuring.md).

    Exit status 0 for pass and warn, 1 for a regression, 3 for what could not be decided.
    """
    if (baseline is None) == (resume is None):
        raise UsageError(
            "name either a --baseline to begin a nightly run, or one to --resume",
            cure="harness baseline list and harness nights show what there is",
        )
    exclusive({"--markdown -": markdown == STDOUT, "--json": as_json})
    url = checked_url(results_url)
    if url is not None:
        for name in (baseline, candidate):
            if name is not None:
                borrow_baseline(url, name, results_dir, note)
    cache = Cache(notice=note)
    with opened(selected(context, device, unattended=True), cache=cache, notify=note) as found:
        devices = _available(found)
        if not emulated or calibrate:
            refuse_emulated(devices)
        by_name = {one.name: one for one in devices}
        if resume is not None:
            folder = find_nightly(results_dir, resume)
            plan = read_plan(folder)
            absent = sorted({unit.device for unit in plan.units} - set(by_name))
            if absent:
                raise UsageError(f"the nightly run was of {', '.join(absent)}", cure="choose them with --device")
        else:
            assert baseline is not None
            plan = _plan(results_dir, baseline, candidate, devices, models, calibrate, words)
            plan = plan.model_copy(update={"command": ["harness", *sys.argv[1:]]})
            folder = results_dir / NIGHTLY / plan.night_id
            write_plan(folder, plan)
        budget = None if time_budget is None else 60 * time_budget
        run = NightlyRun(folder, plan, by_name, notify=note, budget=budget, cooldown=cooldown, deadline=deadline)
        note(f"nightly run {plan.night_id}")
        if plan.calibrate:
            _show_floors(plan, run.calibrate(), by_name, results_dir, as_json=as_json)
            return
        with followed(url, results_dir, plan.night_id, note):
            result = run.run()
    record = judge_nightly(results_dir, folder, result, nightly_runs_of_all(url, note))
    show_nightly(record, markdown=markdown, junit=junit, as_json=as_json)
    if url is not None:
        note(after_runs(url, results_dir, nightly_runs=[plan.night_id]))
    raise typer.Exit(int(exit_code(record)))


def _available(found: Sequence[Device | Unavailable]) -> list[Device]:
    """Return the devices; raises the error of the first one that could not be opened."""
    for lacking in found:
        if isinstance(lacking, Unavailable):
            raise lacking.error
    return [one for one in found if not isinstance(one, Unavailable)]


def _plan(
    results: Path,
    baseline: str,
    candidate: str | None,
    devices: list[Device],
    models: list[str] | None,
    sessions: int,
    words: int | None,
) -> Plan:
    only = None if models is None else chosen(Baselines(results).get(baseline), models)
    candidate_of = (
        itself
        if sessions
        else kept_candidate(results, candidate)
        if candidate is not None
        else built_candidate(results, baseline, note, devices[0])
    )
    return plan_nightly(
        results, baseline, devices, candidate_of, only=only, words=words, calibrate=sessions, candidate=candidate
    )


def _show_floors(
    plan: Plan,
    floors: dict[str, dict[str, Floor]],
    devices: dict[str, Device],
    results_dir: Path,
    *,
    as_json: bool,
) -> None:
    lines = []
    for unit in plan.units:
        for metric, floor in floors.get(unit.name, {}).items():
            write_floor(results_dir, floor_key(devices[unit.device], unit.variant, metric), floor)
            lines.append(FloorLine(unit=unit.name, metric=metric, **vars(floor)))
    unmeasured = [unit.name for unit in plan.units if not floors.get(unit.name)]
    if as_json:
        print_json(CalibrationDocument(night=plan.night_id, floors=lines, unmeasured=unmeasured))
        return
    for line in lines:
        print_line(
            f"{line.unit} {line.metric}: 99 of 100 sessions of the baseline against itself stay within "
            f"{line.change:.1%} (process noise {line.noise:.1%}, {line.sessions} sessions of {line.pairs} pairs)"
        )
    for name in unmeasured:
        print_line(f"{name}: no session could be measured")
