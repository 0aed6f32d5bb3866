"""Plan a nightly run: a baseline's runners are A; B comes from the sources, another baseline, or a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from harness.core.cache import content_key
from harness.core.errors import UsageError
from harness.devices import Device
from harness.measure import LATENCY, METRICS
from harness.models.kinds import without_choice_of_items
from harness.native import Runner
from harness.protocol.schema import SCHEMA_VERSION, GenerationWorkload, WorkOrder
from harness.results import now
from harness.results.baselines import Baseline, Baselines
from harness.results.journal import Plan, SidePlan, UnitPlan
from harness.results.nightly import read_floor
from harness.results.sources import sources
from harness.results.store import new_run_id
from harness.run.builder import Builder, CachedBuilder, Variant, app_options, stored_options

CandidateOf = Callable[[str, str, SidePlan], SidePlan]
"""Returns B from the baseline's name for a unit (a variant of G2P, or a model), the runner's variant, and A."""


def plan_nightly(
    results: Path,
    baseline: str,
    devices: Sequence[Device],
    candidate_of: CandidateOf,
    *,
    only: Sequence[str] | None = None,
    words: int | None = None,
    **more: object,
) -> Plan:
    """Plan every variant and model of the baseline on every device that runs it; ``more`` are fields of the plan.

    ``only`` chooses some of them. ``words`` chooses so many of G2P's words, at even distances. Raises BaselineNotFound,
    BaselineDamaged, and UsageError if no device runs any.
    """
    baselines = Baselines(results)
    kept = baselines.get(baseline)
    refuse_unlike(kept, devices)
    units = []
    for which, facts in kept.timed.items():
        chosen = [device for device in devices if device.target == facts.target]
        if not chosen or (only is not None and which not in only):
            continue
        a = _kept_side(baselines, baseline, which)
        a = a.model_copy(update={"order": _thinned(a.order, words)})
        b = candidate_of(which, facts.variant, a)
        units += [_unit(results, device, which, kept, a, b) for device in chosen]
    if not units:
        there = ", ".join(f"{which} for {facts.target}" for which, facts in kept.timed.items())
        raise UsageError(
            f"baseline {baseline} has {there}, which is not what the chosen device runs",
            cure="choose another --device, or a baseline made on this one",
        )
    return new_plan(baseline, units, facts={device.name: device.facts() for device in devices}, **more)


def refuse_unlike(kept: Baseline, devices: Sequence[Device]) -> None:
    """Raise UsageError if times of a device are not like those of the baseline's run.

    That is so for apps and the shell, and for real devices and emulated ones, whose runs answer a few words once.
    """
    for device in devices:
        mode = device.facts().get("android_mode")
        if mode is not None and kept.manifest.mode not in (None, mode):
            raise UsageError(
                f"baseline {kept.name} was made with --android-mode {kept.manifest.mode}, and this is {mode}: "
                "their times are not alike",
                cure=f"choose --android-mode {kept.manifest.mode}, or set a baseline from a run of this mode",
            )
        if kept.manifest.emulated and not device.emulated:
            raise UsageError(
                f"baseline {kept.name} was made on an emulated device, and {device.name} is real",
                cure="set a baseline from a run on a real device, or choose an emulated one",
            )


def _unit(results: Path, device: Device, which: str, kept: Baseline, a: SidePlan, b: SidePlan) -> UnitPlan:
    floors = {metric: read_floor(results, floor_key(device, which, metric)) for metric in METRICS}
    timed = kept.timed[which]
    facts = kept.manifest.workloads.get(timed.workload)
    return UnitPlan(
        name=f"{device.name}/{which}",
        device=device.name,
        model=facts.label if facts else timed.workload,
        variant=which,
        a=a,
        b=b,
        floor=floors.pop(LATENCY),
        part_floors={metric: floor for metric, floor in floors.items() if floor is not None},
        policy=kept.manifest.policy,
        comparison=timed.comparison,
        emulated=device.emulated,
    )


def chosen(kept: Baseline, models: Sequence[str]) -> list[str]:
    """Return every variant of the baseline's workloads that ``--models`` names. Raises UsageError."""
    there = kept.by_workload
    for name in models:
        if name not in there:
            raise UsageError(f"baseline {kept.name} has no model {name!r}", cure=f"it has {', '.join(there)}")
    return [which for name in models for which in there[name]]


def itself(_which: str, _variant: str, a: SidePlan) -> SidePlan:
    """Return A as its own candidate, for a calibration."""
    return a


def kept_candidate(results: Path, name: str) -> CandidateOf:
    """Return another baseline's runners as candidates, on the items of A."""
    baselines = Baselines(results)

    def candidate(which: str, _variant: str, a: SidePlan) -> SidePlan:
        b = _kept_side(baselines, name, which)
        return b.model_copy(update={"order": b.order.model_copy(update={"items": a.order.items})})

    return candidate


def built_candidate(
    results: Path, baseline: str, progress: Callable[[str], None], device: Device | None = None
) -> CandidateOf:
    """Return candidates from the current sources, compiled and built with the options of the baseline's run.

    If the ``device`` belongs to a lab that compiles, the lab is asked first.
    """
    kept = Baselines(results).get(baseline)
    given = {key: value for key, value in kept.manifest.options.items() if key not in ("results_dir", "baseline")}
    # Its order has the items, and its file of words may be gone.
    options = without_choice_of_items(stored_options(given))

    @functools.cache
    def built(variant: Variant) -> Runner:
        builder: Builder = CachedBuilder(progress, device=device)
        workloads = builder.workloads(options, progress)
        archive = builder.archive(options, workloads, variant, progress)
        # Only an emulated device has a companion, for the machine that emulates it.
        companion = device.companion if device is not None and device.emulated else None
        app = app_options(options, companion, lambda own: builder.archive(own, workloads, variant, progress))
        return builder.runner(archive, progress, app)

    return lambda _which, variant, a: runner_side(built(cast(Variant, variant)), a)


def run_candidate(runners: Mapping[str, Runner]) -> CandidateOf:
    """Return a run's own runners as candidates."""
    return lambda _which, variant, a: runner_side(runners[variant], a)


def runner_side(runner: Runner, a: SidePlan) -> SidePlan:
    """Return the side of a runner from the current sources, with A's order rewritten for the runner's archive.
    Raises UsageError if the runner has no such model.
    """
    archive = runner.archive
    workloads = []
    for workload in a.order.workloads:
        here = archive.metadata.workload(workload.name, workload.kind)
        if here is None:
            raise UsageError(
                f"the candidate has no model {workload.name!r}", cure="choose a baseline of the same models"
            )
        workloads.append(here)
    # The baseline's runner may be older; the candidate's reads orders of the current version.
    today = {"schema_version": SCHEMA_VERSION, "archive_sha256": archive.sha256, "workloads": workloads}
    order = a.order.model_copy(update=today)
    return SidePlan(
        path=runner.path.absolute(),
        sha256=runner.sha256,
        runner_bytes=runner.size,
        archive_bytes=archive.path.stat().st_size,
        order=order,
        git=sources(),
    )


def _kept_side(baselines: Baselines, name: str, which: str) -> SidePlan:
    runner = baselines.runner(name, which)
    return SidePlan(
        path=runner.path.absolute(),
        sha256=runner.sha256,
        runner_bytes=runner.size,
        archive_bytes=runner.archive_bytes,
        order=runner.order,
        git=baselines.get(name).manifest.git,
    )


def _thinned(order: WorkOrder, words: int | None) -> WorkOrder:
    count = len(order.items)
    generates = any(isinstance(workload, GenerationWorkload) for workload in order.workloads)
    if words is None or words >= count or not generates:
        return order
    return order.model_copy(update={"items": [order.items[at * count // words] for at in range(words)]})


def floor_key(device: Device, variant: str, metric: str = LATENCY) -> str:
    """Return the key of a floor: one device, the variant or model that ran on it, and the metric."""
    facts = device.facts()
    what = {key: facts.get(key) for key in ("kind", "name", "cpu_model", "model")}
    return content_key({**what, "variant": variant, **({} if metric == LATENCY else {"metric": metric})})


def new_plan(baseline: str, units: list[UnitPlan], **more: object) -> Plan:
    """Return a plan with a new id; ``more`` are further fields."""
    facts = {"night_id": new_run_id(), "started": now(), "baseline": baseline, "units": units}
    return Plan.model_validate({**facts, **more})
