"""Compute how far each variant of our artifact is from what this machine's memory and arithmetic allow.

    python benchmarks/roofline.py                                       # the embedded model, every precision
    python benchmarks/roofline.py --checkpoint random:tiny-8 --forced-tokens 20
    python benchmarks/roofline.py --quick --variants fp32 --json roofline.json

The machine is measured first, on the same core: read bandwidth over working sets, peak multiply-adds. Then the runner
runs words, and each part's time is set against bytes / bandwidth + multiply-adds / rate (``docs/benchmarks.md``).
Exit status 3 if a variant could not be compiled or run, 2 for wrong usage.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.counting import (
    CACHED_BYTES,
    STORAGE,
    Bound,
    Cost,
    Dimensions,
    Storage,
    bound,
    read_dimensions,
    word_cost,
)
from benchmarks.engines import PRECISIONS, RunnerEngine, Setup, build_ours
from benchmarks.machine import MEGABYTE, Machine, dot_names, measure_machine
from benchmarks.peers import timed_words
from benchmarks.pinning import choose_cores, describe, pinned
from benchmarks.tables import terminal
from harness.compiler.targets import resolve_target
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.items import encode_prompt
from harness.models.g2p.reference import cpu_name
from harness.models.g2p.word_list import Word
from harness.profiling.roofline import bandwidth_at
from harness.protocol.schema import Sample

PARTS = ("encoder", "prefill", "steps")
OTHER = "other"
"""What a sample's total has beyond the three calls: tokenization, argmax, text."""


@dataclass(frozen=True)
class Part:
    """One part of a word's time, as means over words. ``measured_ns`` is the median over rounds of each word."""

    name: str
    cost: Cost
    bound: Bound
    measured_ns: float

    @property
    def distance(self) -> float | None:
        """Measured over bound: 1 is the roofline; None for a part that costs nothing in the model."""
        return self.measured_ns / self.bound.total_ns if self.bound.total_ns else None


@dataclass(frozen=True)
class Variant:
    name: str
    bandwidth: float
    """Bytes a second at the working set of one step."""
    working_set: float
    """Bytes one step reads, on average."""
    rate_name: str
    rate: float
    parts: list[Part]
    """Encoder, prefill, steps, other and total."""


def main(
    checkpoint: Annotated[str, typer.Option(help="embedded, random:tiny-8, or a folder")] = "embedded",
    variants: Annotated[str, typer.Option(help="comma-separated")] = ",".join(PRECISIONS),
    words: Annotated[int, typer.Option(min=1, help="how many of the shipped words")] = 65,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    forced_tokens: Annotated[int | None, typer.Option(min=1, max=1024, help="for weights that never end")] = None,
    core: Annotated[int, typer.Option(min=0, help="the core everything is pinned to")] = 0,
    deadline: Annotated[float, typer.Option(min=0.1, help="seconds for one pass of the runner")] = 600.0,
    quick: Annotated[bool, typer.Option(help="13 words, 2 rounds")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples and the tables here")] = None,
) -> None:
    """Set the runner's times against the machine's limits."""
    console = terminal()
    if quick:
        words, rounds = 13, 2
    try:
        names = [name.strip() for name in variants.split(",") if name.strip()]
        if not names or set(names) - set(PRECISIONS):
            raise UsageError(f"unknown variants {variants!r}", cure=f"known are {', '.join(PRECISIONS)}")
        cache = Cache(notice=console.print)
        resolved = resolve_checkpoint(checkpoint, cache=cache)
        cores = choose_cores(core, 1)
        device = HostDevice()
        setup = Setup(resolved, device, cores, 1, 1, forced_tokens, deadline, cache, console.print)
        status = run(console, setup, names, timed_words(words), rounds, json_path)
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    sys.exit(status)


def run(
    console: Console, setup: Setup, names: Sequence[str], words: Sequence[Word], rounds: int, json_path: Path | None
) -> ExitCode:
    dimensions = read_dimensions(setup.checkpoint.folder)
    target = resolve_target("llvm")
    engines: dict[str, RunnerEngine] = {}
    failures: dict[str, str] = {}
    for name in names:
        _open(name, setup, engines, failures, console)
    samples: dict[str, list[list[Sample]]] = {name: [] for name in engines}
    storages = {name: storage_of(name, engine) for name, engine in engines.items()}
    with setup.device.reserve(notify=console.print):
        console.print("measuring the machine")
        with pinned(setup.cores):
            machine = measure_machine(target, tries=max(3, rounds))
        for _ in range(rounds):
            for name in list(engines):
                _measure(name, words, engines, samples, failures, console)
    dots = dot_names(target)
    sizes = [len(encode_prompt(word.language, word.word)) for word in words]
    found = [
        judge(name, dimensions, storages[name], machine, dots[0] if dots else None, sizes, passes)
        for name, passes in samples.items()
        if passes and name not in failures
    ]
    console.print(f"{cpu_name()}, one thread, {describe(setup.cores)}; means over {len(words)} words", highlight=False)
    show_machine(console, machine)
    for variant in found:
        show(console, setup.checkpoint.label, variant)
    if json_path:
        json_path.write_text(
            json.dumps(document(setup, words, machine, found, samples, failures), indent=1) + "\n", encoding="utf-8"
        )
    return ExitCode.INFRASTRUCTURE if failures else ExitCode.OK


def _open(
    name: str, setup: Setup, engines: dict[str, RunnerEngine], failures: dict[str, str], console: Console
) -> None:
    try:
        engines[name] = RunnerEngine(build_ours(name, setup), setup)
    except HarnessError as error:
        failures[name] = Exception.__str__(error)
        console.print(f"{name} cannot be measured: {error}", markup=False, style="red")


def _measure(
    name: str,
    words: Sequence[Word],
    engines: dict[str, RunnerEngine],
    samples: dict[str, list[list[Sample]]],
    failures: dict[str, str],
    console: Console,
) -> None:
    try:
        samples[name].append(engines[name].samples([[word] for word in words]))
    except HarnessError as error:
        del engines[name]
        failures[name] = Exception.__str__(error)
        console.print(f"{name} failed: {error}", markup=False, style="red")


def storage_of(name: str, engine: RunnerEngine) -> Storage:
    """Return the storage with the caches' element type from the archive's metadata; older ones hold float32."""
    dtype = getattr(engine.runner.archive.metadata, "self_cache_dtype", "float32")
    return dataclasses.replace(STORAGE[name], cached=CACHED_BYTES[dtype])


def judge(
    name: str,
    dimensions: Dimensions,
    storage: Storage,
    machine: Machine,
    dot: str | None,
    input_tokens: Sequence[int],
    passes: Sequence[Sequence[Sample]],
) -> Variant:
    """Measured times against bounds; ``passes`` are the rounds, each with one sample per word in the same order."""
    words = list(zip(*passes, strict=True))
    lengths = [(read, len(rounds[0].parts["step"])) for read, rounds in zip(input_tokens, words, strict=True)]
    costs = [word_cost(dimensions, storage, read, written) for read, written in lengths]
    steps = sum(written for _, written in lengths)
    working_set = sum(cost.steps.bytes for cost in costs) / steps
    bandwidth = bandwidth_at(machine.bandwidth, working_set)
    rate_name, rate = machine.rate(name, dot)
    count = len(words)
    parts = []
    for part in PARTS:
        total: Cost = sum((getattr(cost, part) for cost in costs), Cost())
        mean = Cost(total.bytes // count, total.macs // count)
        measured = sum(_median(rounds, part) for rounds in words) / count
        parts.append(Part(part, mean, bound(mean, bandwidth, rate), measured))
    whole = sum(statistics.median(sample.total_ns for sample in rounds) for rounds in words) / count
    sums = sum((p.cost for p in parts), Cost()), sum((p.bound for p in parts), Bound(0, 0))
    rest = sum(_median(rounds, OTHER) for rounds in words) / count
    parts.append(Part(OTHER, Cost(), Bound(0, 0), rest))
    return Variant(name, bandwidth, working_set, rate_name, rate, [*parts, Part("total", *sums, whole)])


def _median(rounds: Sequence[Sample], part: str) -> float:
    return statistics.median(_nanoseconds(sample, part) for sample in rounds)


def _nanoseconds(sample: Sample, part: str) -> int:
    parts = {
        "encoder": sample.part_ns("encoder"),
        "prefill": sample.part_ns("prefill"),
        "steps": sample.part_ns("step"),
    }
    return parts[part] if part in parts else sample.total_ns - sum(parts.values())


def show_machine(console: Console, machine: Machine) -> None:
    table = Table(title="the machine: one core reads")
    for size in machine.bandwidth:
        table.add_column(f"{size // MEGABYTE} MB", justify="right")
    table.add_row(*(f"{rate / 1e9:.1f} GB/s" for rate in machine.bandwidth.values()))
    console.print(table)
    rates = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in machine.rates.items())
    console.print(f"multiply-adds in 10⁹ a second: {rates}", highlight=False)


def show(console: Console, label: str, variant: Variant) -> None:
    table = Table(
        title=f"{label}, {variant.name}: {variant.bandwidth / 1e9:.1f} GB/s at the "
        f"{variant.working_set / MEGABYTE:.1f} MB a step reads, {variant.rate / 1e9:.1f} GMAC/s ({variant.rate_name})"
    )
    for column in (
        "part",
        "MB",
        "million MACs",
        "memory ms",
        "arithmetic ms",
        "roofline ms",
        "measured ms",
        "distance",
    ):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in variant.parts:
        distance = part.distance
        table.add_row(
            part.name,
            f"{part.cost.bytes / MEGABYTE:.2f}",
            f"{part.cost.macs / 1e6:.2f}",
            f"{part.bound.memory_ns / 1e6:.3f}",
            f"{part.bound.arithmetic_ns / 1e6:.3f}",
            f"{part.bound.total_ns / 1e6:.3f}",
            f"{part.measured_ns / 1e6:.3f}",
            "–" if distance is None else f"× {distance:.2f}",
        )
    console.print(table)


def document(
    setup: Setup,
    words: Sequence[Word],
    machine: Machine,
    variants: Sequence[Variant],
    samples: dict[str, list[list[Sample]]],
    failures: dict[str, str],
) -> dict[str, Any]:
    """Everything that was measured, for ``--json``; ``samples`` are [variant][round][word]."""
    keep = {"total_ns", "parts"}
    return {
        "checkpoint": setup.checkpoint.label,
        "checkpoint_sha256": setup.checkpoint.sha256,
        "cpu": cpu_name(),
        "pinning": describe(setup.cores),
        "words": [{"language": word.language, "word": word.word} for word in words],
        "machine": asdict(machine),
        "variants": [asdict(variant) for variant in variants],
        "samples": {n: [[s.model_dump(include=keep) for s in r] for r in rounds] for n, rounds in samples.items()},
        "failures": failures,
    }


if __name__ == "__main__":
    typer.run(main)
