"""Measure what models in one binary cost each other: ten in one beside ten binaries, in fresh processes.

    python benchmarks/many_models.py                     # ten models, 20 rounds
    python benchmarks/many_models.py --quick             # two models, two rounds

Each round runs every model's order on its own binary and on the one with all of them, which of the two first changes
from round to round; then orders that load one, two and up to all. The load of a model is what the runner measures
around taking it from the library and starting its virtual machine. A model's latency in a process is the median of its
timed calls. A start is a process that loads nothing, from before it is started until it has ended: what is left there
of models that nobody uses.
"""

from __future__ import annotations

import json
import secrets
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import round_order
from benchmarks.pinning import choose_cores, describe, pinned
from benchmarks.tables import terminal
from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.devices import HostDevice
from harness.models.g2p.reference import cpu_name
from harness.models.tensor.described import UserModel, describe_models
from harness.models.tensor.sources import ModelSource
from harness.models.tensor.workload import TensorModel
from harness.native import Runner, build_runner
from harness.protocol.schema import Load, Phase, Sample, WorkItem, WorkOrder
from harness.protocol.tensors import encode

TEN = Path(__file__).with_name("ten_models.py")
WARMUP, REPETITIONS = 3, 20
SIDES = ("alone", "together")


@dataclass
class Measured:
    """By model: loads, latencies and starts of every process, in nanoseconds. ``together``: loads by how many were
    loaded."""

    load: dict[str, dict[str, list[int]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    latency: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    start: dict[str, dict[str, list[int]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    together: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))


def build(models: Sequence[UserModel], cache: Cache, console: Console) -> Runner:
    request = CompileRequest([TensorModel(model).compilable("") for model in models])
    archive = compile_models(request, cache=cache, progress=lambda _text: None)
    runner = build_runner(archive, cache=cache, progress=lambda _text: None)
    console.print(f"{', '.join(model.name for model in models)}: {runner.size / 1e6:.1f} MB")
    return runner


def order_of(runner: Runner, models: Sequence[UserModel], repetitions: int) -> WorkOrder:
    known = {model.name: model for model in runner.archive.metadata.models}
    items = [
        WorkItem(id=f"{model.name} {item}", workload=model.name, input=encode(arrays))
        for model in models
        for item, arrays in model.inputs().items()
    ]
    return WorkOrder(
        order_id=secrets.token_hex(8),
        archive_sha256=runner.archive.sha256,
        workloads=[known[model.name].workload() for model in models],
        items=items,
        warmup=WARMUP if repetitions else 1,
        repetitions=repetitions,
    )


def run(device: HostDevice, runner: Runner, models: Sequence[UserModel], repetitions: int) -> tuple[int, float]:
    """Return the sum of the loads, and the median of the timed calls (0 without any). Raises IncompleteResult."""
    result = device.run(runner.path, order_of(runner, models, repetitions)).require_complete()
    loads = sum(record.load_ns for record in result.records if isinstance(record, Load))
    timed = [r.total_ns for r in result.records if isinstance(r, Sample) and r.phase is Phase.TIMED]
    return loads, statistics.median(timed) if timed else 0.0


def start(runner: Runner) -> int:
    """Nanoseconds of a process of the runner that loads no model."""
    began = time.perf_counter_ns()
    subprocess.run([runner.path, "--describe"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter_ns() - began


def measure(models: Sequence[UserModel], alone: dict[str, Runner], everything: Runner, rounds: int) -> Measured:
    device, found = HostDevice(), Measured()
    for index in range(rounds):
        for model in models:
            for side in round_order(SIDES, index):
                runner = alone[model.name] if side == "alone" else everything
                load, latency = run(device, runner, [model], REPETITIONS)
                found.load[model.name][side].append(load)
                found.latency[model.name][side].append(latency)
                found.start[model.name][side].append(start(runner))
        for count in range(1, len(models) + 1):
            found.together[count].append(run(device, everything, models[:count], 0)[0])
    return found


def show(console: Console, found: Measured, how: str) -> None:
    table = Table(title=how)
    for title in ("model", "load alone, ms", "load in one", "ratio", "call alone, ms", "call in one", "ratio"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for name, sides in found.load.items():
        loads = [statistics.median(sides[side]) / 1e6 for side in SIDES]
        calls = [statistics.median(found.latency[name][side]) / 1e6 for side in SIDES]
        pairs = zip(found.latency[name]["together"], found.latency[name]["alone"], strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        table.add_row(
            name, *(f"{ms:.3f}" for ms in loads), f"{loads[1] / loads[0]:.3f}", *(f"{ms:.3f}" for ms in calls),
            f"{ratio:.3f}",
        )  # fmt: skip
    console.print(table)
    total = sum(statistics.median(sides["alone"]) for sides in found.load.values())
    console.print("loaded by one process, ms: " + ", ".join(
        f"{count}: {statistics.median(loads) / 1e6:.2f}" for count, loads in found.together.items()
    ))  # fmt: skip
    whole = statistics.median(found.together[max(found.together)])
    starts = [statistics.median(t for model in found.start.values() for t in model[side]) for side in SIDES]
    console.print(f"a start that loads nothing, ms: one model {starts[0] / 1e6:.2f}, all {starts[1] / 1e6:.2f}")
    console.print(f"all in one process {whole / 1e6:.2f} ms, the sum alone {total / 1e6:.2f} ms: {whole / total:.3f}")


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 20,
    core: Annotated[int, typer.Option(help="the core that everything is pinned to")] = 0,
    quick: Annotated[bool, typer.Option(help="two models, two rounds")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Compare models in one binary with binaries of one model each.

    Examples: python benchmarks/many_models.py; python benchmarks/many_models.py --quick
    """
    console, cache = terminal(), Cache()
    rounds = 2 if quick else rounds
    try:
        cores = choose_cores(core, 1)
        source = ModelSource("ten_models.py", TEN)
        models = describe_models([source], cache=cache, progress=lambda _text: None)[: 2 if quick else None]
        alone = {model.name: build([model], cache, console) for model in models}
        everything = build(models, cache, console)
        with pinned(cores):
            found = measure(models, alone, everything, rounds)
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    show(console, found, f"medians of {rounds} alternating rounds, {describe(cores)}, {cpu_name()}")
    if json_path is not None:
        facts = {
            "cpu": cpu_name(),
            "load_ns": found.load,
            "latency_ns": found.latency,
            "start_ns": found.start,
            "together_ns": found.together,
        }
        json_path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
