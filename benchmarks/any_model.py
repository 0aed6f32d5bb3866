"""Torch models that are not ours, compiled with and without ScheduleRest, beside PyTorch: one pinned thread.

    python benchmarks/any_model.py                    # every model
    python benchmarks/any_model.py --quick --json any.json

Each round runs all three engines, in order and then in reverse, so that a drift of the machine hits all alike. A sample
is one call with the input at hand; an engine's figure is its median over all rounds. "without" keeps TVM's bare loops
and torch's layouts where no template matches. Answers are compared with PyTorch's first: exit status 1 if one differs.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tvm
import typer
from rich.console import Console
from rich.table import Table
from tvm import relax

from benchmarks.comparison import round_order
from benchmarks.pinning import choose_cores, describe, pin
from benchmarks.tables import terminal
from benchmarks.torch_models import EXAMPLES, Example
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.core.errors import ExitCode, HarnessError
from harness.models.functions import ModelFunction
from harness.models.g2p.reference import cpu_name

ENGINES = ("with", "without", "PyTorch")
TOLERANCE = 1e-4
"""Of the largest element of an answer."""
SAMPLE_SECONDS = 0.02
"""A round repeats a call at least so long."""

Call = Callable[[], Any]


def compiled(example: Example, *, schedule_rest: bool) -> Call:
    """Compile the model on its input for this machine."""
    module, x = example.make()
    host, ops = resolve_target("llvm"), OpTable()
    prefix = f"{'with' if schedule_rest else 'without'}_{EXAMPLES.index(example)}_"
    imported = import_function(ModelFunction("main", module, (x,), (None,)), ops)
    recipe = Recipe(host.profile, "fp32", prefix, ops, schedule_rest=schedule_rest)
    function = relax.VirtualMachine(lower(imported, tvm_target(host), recipe), tvm.cpu())["main"]
    given = tvm.runtime.tensor(x.numpy())
    return lambda: function(given)


def eager(example: Example) -> Call:
    module, x = example.make()

    def call() -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = module(x)
            return result

    return call


def round_ns(call: Call) -> int:
    """Return the median of the calls of one round, in nanoseconds."""
    call()
    times: list[int] = []
    while sum(times) < SAMPLE_SECONDS * 1e9 or len(times) < 3:
        began = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - began)
    return round(statistics.median(times))


def measure(calls: dict[str, Call], rounds: int) -> dict[str, list[int]]:
    samples: dict[str, list[int]] = {name: [] for name in calls}
    for index in range(rounds):
        for name in round_order(list(calls), index):
            samples[name].append(round_ns(calls[name]))
    return samples


def agree(calls: dict[str, Call]) -> bool:
    expected = calls["PyTorch"]().numpy()
    bound = TOLERANCE * float(np.abs(expected).max())
    return all(float(np.abs(calls[name]().numpy() - expected).max()) <= bound for name in ("with", "without"))


def show(console: Console, samples: dict[str, dict[str, list[int]]], how: str) -> None:
    table = Table(title=how)
    titles = ("model", "with, ms", "without, ms", "PyTorch, ms", "with / without", "with / PyTorch")
    for title in titles:
        table.add_column(title, justify="left" if title == "model" else "right")
    for name, found in samples.items():
        ms = {engine: statistics.median(times) / 1e6 for engine, times in found.items()}
        ratios = (ms["with"] / ms["without"], ms["with"] / ms["PyTorch"])
        table.add_row(name, *(f"{ms[engine]:.3g}" for engine in ENGINES), *(f"{ratio:.3f}" for ratio in ratios))
    console.print(table)


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 10,
    core: Annotated[int, typer.Option(help="the core that everything is pinned to")] = 0,
    quick: Annotated[bool, typer.Option(help="two models, two rounds")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Compare what the compiler makes of any torch model with PyTorch, and with TVM's bare loops.

    Examples: python benchmarks/any_model.py; python benchmarks/any_model.py --quick --json any.json
    """
    console = terminal()
    examples = EXAMPLES[-2:] if quick else EXAMPLES
    rounds = 2 if quick else rounds
    samples: dict[str, dict[str, list[int]]] = {}
    wrong = []
    try:
        cores = choose_cores(core, 1)
        # Those without first: the polynomials of the others stay with the process.
        plain = {example.name: compiled(example, schedule_rest=False) for example in examples}
        for example in examples:
            console.print(f"compiling {example.name}")
            calls = {"with": compiled(example, schedule_rest=True), "without": plain[example.name]}
            calls["PyTorch"] = eager(example)
            if not agree(calls):
                wrong.append(example.name)
            pin(cores)
            torch.set_num_threads(1)
            samples[example.name] = measure(calls, rounds)
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    show(console, samples, f"median over {rounds} alternating rounds, one thread, {describe(cores)}, {cpu_name()}")
    console.print(f"answers differ from PyTorch's: {', '.join(wrong)}" if wrong else "all answers are PyTorch's")
    if json_path is not None:
        facts = {"cpu": cpu_name(), "pinned": describe(cores), "samples_ns": samples, "wrong": wrong}
        json_path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    sys.exit(ExitCode.FAILURE if wrong else ExitCode.OK)


if __name__ == "__main__":
    typer.run(main)
