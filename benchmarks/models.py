"""Models as users write them, compiled, beside PyTorch: one pinned thread, every item of every model.

    python benchmarks/models.py                                     # the shipped ones
    python benchmarks/models.py --models flowers.py --json out.json

Each round runs both engines over a model's items, in order and then in reverse, so that a drift of the machine hits
both alike. A sample is one call with the inputs at hand; an item's figure is its median over all rounds, a model's the
median of its items' ratios. Answers are judged as the model asks for: exit status 1 if one is not PyTorch's.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import tvm
import typer
from rich.console import Console
from rich.table import Table
from tvm import relax

from benchmarks.any_model import measure
from benchmarks.pinning import choose_cores, describe, pin
from benchmarks.tables import terminal
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.core.errors import ExitCode, HarnessError
from harness.models import ModelSpec
from harness.models.g2p.reference import cpu_name
from harness.models.tensor.flat import FlatModule, answered, compiled_function, flattened
from harness.models.tensor.loading import Items, checked_items, load_specs, prefix_of
from harness.models.tensor.sources import ModelSource, resolve_model
from harness.validate.tensors import compare_item

ENGINES = ("ours", "PyTorch")
Call = Callable[[], Any]


def compiled(spec: ModelSpec, module: FlatModule) -> Any:
    """Compile the model's function for this machine."""
    host, ops = resolve_target("llvm"), OpTable()
    imported = import_function(compiled_function(spec, module), ops)
    executable = lower(imported, tvm_target(host), Recipe(host.profile, "fp32", prefix_of(spec), ops))
    return relax.VirtualMachine(executable, tvm.cpu())["main"]


def calls_of(function: Any, module: FlatModule, inputs: tuple[torch.Tensor, ...]) -> dict[str, Call]:
    given = [tvm.runtime.tensor(tensor.numpy()) for tensor in inputs]

    def eager() -> Any:
        with torch.inference_mode():
            return module(*inputs)

    return {"ours": lambda: function(*given), "PyTorch": eager}


def faults(spec: ModelSpec, function: Any, module: FlatModule, items: Items) -> list[str]:
    """Return the items whose answers are not PyTorch's."""
    found = []
    for item, inputs in items.items():
        expected = {name: out.numpy() for name, out in answered(module, tuple(inputs.values()), ()).items()}
        answer = function(*(tvm.runtime.tensor(tensor.numpy()) for tensor in inputs.values()))
        outputs = [answer] if len(expected) == 1 else list(answer)
        got = {name: output.numpy() for name, output in zip(expected, outputs, strict=True)}
        parity = compare_item(spec.name, item, spec.compare, expected, got)
        found += [parity.describe()] if parity.verdict.fails else []
    return found


def of_source(source: ModelSource, cores: tuple[int, ...], rounds: int, console: Console) -> tuple[Any, list[str]]:
    """Samples by model, item and engine, in nanoseconds; and what is wrong."""
    samples, wrong = {}, []
    for spec in load_specs(source.path, source.module, source.attribute):
        console.print(f"compiling {spec.name}")
        items, module = checked_items(spec, source.path), flattened(spec)
        function = compiled(spec, module)
        wrong += faults(spec, function, module, items)
        pin(cores)
        torch.set_num_threads(1)
        samples[spec.name] = {
            item: measure(calls_of(function, module, tuple(inputs.values())), rounds) for item, inputs in items.items()
        }
    return samples, wrong


def show(console: Console, samples: dict[str, dict[str, dict[str, list[int]]]], how: str) -> None:
    table = Table(title=how)
    for title in ("model", "item", "ours, ms", "PyTorch, ms", "ours / PyTorch"):
        table.add_column(title, justify="left" if title in ("model", "item") else "right")
    for name, items in samples.items():
        ratios = []
        for item, engines in items.items():
            ms = {engine: statistics.median(times) / 1e6 for engine, times in engines.items()}
            ratios.append(ms["ours"] / ms["PyTorch"])
            table.add_row(name, item, *(f"{ms[engine]:.3g}" for engine in ENGINES), f"{ratios[-1]:.3f}")
        table.add_row(name, "median of items", "", "", f"{statistics.median(ratios):.3f}", style="bold")
    console.print(table)


def main(
    models: Annotated[list[str] | None, typer.Option("--models", help="as the suites take them")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 10,
    core: Annotated[int, typer.Option(help="the core that everything is pinned to")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Compare compiled models with PyTorch.

    Examples: python benchmarks/models.py; python benchmarks/models.py --models flowers.py --rounds 3
    """
    console = terminal()
    samples: dict[str, Any] = {}
    wrong: list[str] = []
    try:
        cores = choose_cores(core, 1)
        for source in map(resolve_model, models or ["detector", "bert"]):
            measured, faulty = of_source(source, cores, rounds, console)
            samples |= measured
            wrong += faulty
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    show(console, samples, f"median over {rounds} alternating rounds, one thread, {describe(cores)}, {cpu_name()}")
    for fault in wrong:
        console.print(fault, markup=False, style="red")
    if json_path is not None:
        facts = {"cpu": cpu_name(), "pinned": describe(cores), "samples_ns": samples, "wrong": wrong}
        json_path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    sys.exit(ExitCode.FAILURE if wrong else ExitCode.OK)


if __name__ == "__main__":
    typer.run(main)
