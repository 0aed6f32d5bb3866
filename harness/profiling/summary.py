"""Sum up the kernels' calls over the timed samples of a profile."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.compiler.observe.provenance import FunctionProvenance, Operator, Provenance, Site, common_module
from harness.measure import paired_ratio
from harness.profiling.marks import Call, calls
from harness.protocol.schema import Machine, Phase, Precision, ProfileRecord, Sample
from harness.results.schema.profile import FunctionTime, Overhead, ProfileLine, ProfileSummary, SiteTime

Times = Mapping[str, Sequence[int]]


def summarize_profile(
    lines: Iterable[ProfileLine],
    provenance: Provenance,
    *,
    workload: str,
    unit: str,
    variant: str,
    precision: Precision,
    archive_sha256: str,
    emulated: bool,
) -> ProfileSummary:
    """Return the summary of a model's profile, from its records and its own provenance. Raises BadMarks."""
    found: dict[tuple[str, int], list[Call]] = defaultdict(list)
    samples: list[Sample] = []
    times: dict[bool, dict[str, list[int]]] = {True: defaultdict(list), False: defaultdict(list)}
    machine: Machine | None = None
    for line in lines:
        record = line.record
        if isinstance(record, Machine) and machine is None:
            machine = record
        elif isinstance(record, Sample) and record.phase is Phase.TIMED:
            times[line.profiled][" ".join(record.items)].append(record.total_ns)
            samples += [record] if line.profiled else []
        elif isinstance(record, ProfileRecord) and record.phase is Phase.TIMED:
            for call in calls(provenance, record):
                found[call.function, call.index].append(call)
    sites = [
        site_time(function, index, site, found[function.name, index])
        for function in provenance.functions
        for index, site in enumerate(function.leaves())
        if found[function.name, index]
    ]
    return ProfileSummary(
        workload=workload,
        unit=unit,
        variant=variant,
        precision=precision,
        emulated=emulated,
        archive_sha256=archive_sha256,
        samples=len(samples),
        total_ns=sum(sample.total_ns for sample in samples),
        functions=[_function_time(function, samples, sites) for function in provenance.functions],
        sites=sites,
        machine=machine,
        overhead=overhead(times[False], times[True]),
    )


def site_time(function: FunctionProvenance, index: int, site: Site, made: Sequence[Call]) -> SiteTime:
    operators = [function.operators[number] for number in site.operators]
    taken = [call.end - call.begin for call in made]
    moved = [call.bytes for call in made if call.bytes is not None]
    computed = [call.flops for call in made if call.flops is not None]
    return SiteTime(
        function=function.name,
        index=index,
        kernel=site.kernel,
        operators=[short_name(operator) for operator in operators],
        nodes=[operator.name for operator in operators],
        module=common_module(operators),
        calls=len(made),
        total_ns=sum(taken),
        median_ns=statistics.median(taken),
        min_ns=min(taken),
        bytes=sum(moved) if len(moved) == len(made) else None,
        flops=sum(computed) if len(computed) == len(made) else None,
    )


def short_name(operator: Operator) -> str:
    """Return an operator's short name: ``linear`` for ``aten.linear.default``."""
    parts = operator.target.split(".")
    return parts[1] if len(parts) > 2 else parts[0].rpartition(" ")[2].strip("<>")


def overhead(plain: Times, profiled: Times) -> Overhead | None:
    """Return the cost of profiling; None if no item was run both ways.

    Only each item's fastest samples are compared. Marks are the same work every time, and a disturbance can only make a
    sample slower.
    """
    both = sorted(set(plain) & set(profiled))
    if not both:
        return None
    found = paired_ratio({item: [min(plain[item])] for item in both}, {item: [min(profiled[item])] for item in both})

    def typical(times: Times) -> float:
        return statistics.geometric_mean(min(times[item]) for item in both)

    return Overhead(
        items=len(both),
        ratio=found.ratio,
        low=found.interval.low if found.interval else None,
        high=found.interval.high if found.interval else None,
        plain_ns=typical(plain),
        profiled_ns=typical(profiled),
    )


def _function_time(function: FunctionProvenance, samples: Sequence[Sample], sites: Sequence[SiteTime]) -> FunctionTime:
    mine = [site for site in sites if site.function == function.name]
    return FunctionTime(
        name=function.name,
        calls=max((site.calls for site in mine), default=0),
        total_ns=sum(_nanoseconds(sample, function) for sample in samples),
        kernel_ns=sum(site.total_ns for site in mine),
    )


def _nanoseconds(sample: Sample, function: FunctionProvenance) -> int:
    """Return the runner's own time around a function's calls; a tensor workload has no parts."""
    if function.name == function.model:
        return sample.total_ns
    return sample.part_ns(_PARTS[function.name])


_PARTS = {"encoder": "encoder", "decoder_prefill": "prefill", "decoder_step": "step", "decoder": "step"}
