"""What a night will measure: a baseline's runners as A, and B from the sources, another baseline, or a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import cast

import harness
from harness.cache import content_key
from harness.devices import Device
from harness.devices.workstation import git_state
from harness.errors import UsageError
from harness.journal import Plan, SidePlan, UnitPlan
from harness.maker import CachedMaker, Maker, RunOptions, Variant
from harness.measure import LATENCY, METRICS
from harness.native import Runner
from harness.protocol import WorkOrder
from harness.results import Git, now
from harness.results.baselines import Baseline, Baselines
from harness.results.nights import read_floor
from harness.results.store import new_run_id

CandidateOf = Callable[[str, SidePlan], SidePlan]
"""B for a variant, beside its A."""


def plan_night(
    results: Path,
    baseline: str,
    devices: Sequence[Device],
    candidate_of: CandidateOf,
    *,
    variants: Sequence[str] | None = None,
    words: int | None = None,
    **more: object,
) -> Plan:
    """Every variant of the baseline on every device that runs it; ``more`` are fields of the plan.

    ``variants`` takes some of them, ``words`` so many of their words, at even distances. Raises BaselineNotFound,
    BaselineDamaged, and UsageError if no device runs any.
    """
    baselines = Baselines(results)
    kept = baselines.get(baseline)
    units = []
    for variant, facts in kept.variants.items():
        chosen = [device for device in devices if device.target == facts.target]
        if not chosen or (variants is not None and variant not in variants):
            continue
        a = _kept_side(baselines, baseline, variant)
        a = a.model_copy(update={"order": _thinned(a.order, words)})
        b = candidate_of(variant, a)
        units += [_unit(results, device, variant, kept, a, b) for device in chosen]
    if not units:
        there = ", ".join(f"{variant} for {facts.target}" for variant, facts in kept.variants.items())
        raise UsageError(
            f"baseline {baseline} has {there}, which is not what the chosen device runs",
            cure="choose another --device, or a baseline made on this one",
        )
    return new_plan(baseline, units, facts={device.name: device.facts() for device in devices}, **more)


def _unit(results: Path, device: Device, variant: str, kept: Baseline, a: SidePlan, b: SidePlan) -> UnitPlan:
    floors = {metric: read_floor(results, floor_key(device, variant, metric)) for metric in METRICS}
    return UnitPlan(
        name=f"{device.name}/{variant}",
        device=device.name,
        model=kept.manifest.checkpoint.label if kept.manifest.checkpoint else "?",
        variant=variant,
        a=a,
        b=b,
        floor=floors.pop(LATENCY),
        part_floors={metric: floor for metric, floor in floors.items() if floor is not None},
        allowance=kept.manifest.allowance,
    )


def itself(_variant: str, a: SidePlan) -> SidePlan:
    """A against A, for a calibration."""
    return a


def kept_candidate(results: Path, name: str) -> CandidateOf:
    """Another baseline's runners, on the words of the first."""
    baselines = Baselines(results)

    def candidate(variant: str, a: SidePlan) -> SidePlan:
        b = _kept_side(baselines, name, variant)
        return b.model_copy(update={"order": b.order.model_copy(update={"items": a.order.items})})

    return candidate


def built_candidate(results: Path, baseline: str, say: Callable[[str], None]) -> CandidateOf:
    """What the sources give now, compiled and built with the options of the baseline's run."""
    kept = Baselines(results).get(baseline)
    known = {field.name for field in fields(RunOptions)} - {"words", "results_dir", "baseline"}
    options = RunOptions(**{key: value for key, value in kept.manifest.options.items() if key in known})

    def candidate(variant: str, a: SidePlan) -> SidePlan:
        maker: Maker = CachedMaker(say)
        archive = maker.archive(options, maker.checkpoint(options), cast(Variant, variant), say)
        return runner_side(maker.runner(archive, say), a)

    return candidate


def run_candidate(runners: Mapping[str, Runner]) -> CandidateOf:
    """The runners that a run was made with."""
    return lambda variant, a: runner_side(runners[variant], a)


def runner_side(runner: Runner, a: SidePlan) -> SidePlan:
    """A runner of the sources as they are, with A's order for its own archive."""
    archive = runner.archive
    order = a.order.model_copy(
        update={"archive_sha256": archive.sha256, "models": [archive.metadata.order_model(a.order.models[0].name)]}
    )
    git = git_state(Path(harness.__file__).parent)
    return SidePlan(
        path=runner.path.absolute(),
        sha256=runner.sha256,
        runner_bytes=runner.size,
        archive_bytes=archive.path.stat().st_size,
        order=order,
        git=Git(commit=git[0], dirty=git[1]) if git else None,
    )


def _kept_side(baselines: Baselines, name: str, variant: str) -> SidePlan:
    runner = baselines.runner(name, variant)
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
    if words is None or words >= count:
        return order
    return order.model_copy(update={"items": [order.items[at * count // words] for at in range(words)]})


def floor_key(device: Device, variant: str, metric: str = LATENCY) -> str:
    """Of what a floor is for: this very device, the variant that was run on it, and the metric."""
    facts = device.facts()
    what = {key: facts.get(key) for key in ("kind", "name", "cpu_model", "model")}
    return content_key({**what, "variant": variant, **({} if metric == LATENCY else {"metric": metric})})


def new_plan(baseline: str, units: list[UnitPlan], **more: object) -> Plan:
    """A plan with an id of its own; ``more`` are fields of it."""
    facts = {"night_id": new_run_id(), "started": now(), "baseline": baseline, "units": units}
    return Plan.model_validate({**facts, **more})
