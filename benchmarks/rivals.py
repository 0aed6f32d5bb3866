"""Our runner beside the engines that others would pick, over models of many kinds, alternating in one run.

    python benchmarks/rivals.py                                      # every model and engine, one thread, float32
    python benchmarks/rivals.py --quick --engines ours,onnxruntime   # two small models, two rounds
    python benchmarks/rivals.py --precision int8 --models resnet-18 --json int8.json

``docs/benchmarks.md`` describes what is measured and how to read it. Exit status 3 if an engine or model could not be
converted, compiled or run to its end (the others are measured), 1 if an engine's answers are not PyTorch's, 2 for wrong
usage.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.commands import load
from benchmarks.comparison import round_order
from benchmarks.pinning import choose_cores, describe, scheduled_first
from benchmarks.rival_conversions import Conversions, conversions
from benchmarks.rival_engines import Engine, Setup, open_engine
from benchmarks.rival_names import ENGINES, INT8, MODELS, QUICK, TITLES
from benchmarks.rival_pages import markdown
from benchmarks.rival_tables import Measured, engine_table, fastest_rival, geometric_mean, ratio, summary_table
from benchmarks.tables import terminal
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.core.files import replacing
from harness.devices import HostDevice
from harness.models.g2p.reference import cpu_name
from harness.protocol.schema import Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@dataclass
class Comparison:
    """The models that were measured, by engine, and what the machine was doing meanwhile."""

    console: Console
    setup: Setup
    made: Conversions
    engines: Sequence[str]
    models: dict[str, dict[str, Measured]] = field(default_factory=dict)
    loads: dict[str, str] = field(default_factory=dict)
    """By model, before and after its rounds: figures of a busy machine are disturbed."""

    def take(self, model: str, rounds: int) -> None:
        """Measure one model on every engine."""
        self.models[model] = {}
        running: dict[str, Engine] = {}
        try:
            for name in self.engines:
                self._open(model, name, running)
            with self.setup.device.reserve(notify=self.console.print):
                before, began = load(), time.monotonic()
                for index in range(rounds):
                    for name in round_order(list(running), index):
                        self._step(model, name, running, last=index + 1 == rounds)
            self.loads[model] = f"{before} before, {load()} after"
            self.console.print(f"{model}: {rounds} rounds in {time.monotonic() - began:.0f} s, {self.loads[model]}")
        finally:
            for engine in running.values():
                engine.close()

    def _open(self, model: str, name: str, running: dict[str, Engine]) -> None:
        try:
            running[name] = open_engine(name, model, self.setup, self.made)
        except HarnessError as error:
            self.models[model][name] = Measured()
            self._fail(model, name, self.models[model][name], error)
        else:
            self.models[model][name] = running[name].measured

    def _step(self, model: str, name: str, running: dict[str, Engine], *, last: bool) -> None:
        try:
            running[name].round()
            if last:
                running[name].finish()
        except HarnessError as error:
            self._fail(model, name, running[name].measured, error)
            running.pop(name).close()

    def _fail(self, model: str, name: str, measured: Measured, error: HarnessError) -> None:
        measured.failure = Exception.__str__(error)
        self.console.print(f"[red]{model} on {TITLES[name]}:[/red] {escape(_line(measured.failure))}")

    @property
    def how(self) -> str:
        setup = self.setup
        ahead = ", ahead of other processes" if setup.ahead else ""
        return f"{setup.threads} thread(s), {describe(setup.cores)}{ahead}, {cpu_name()}"

    def show(self) -> None:
        precision = self.setup.precision
        for model, engines in self.models.items():
            self.console.print(engine_table(model, engines, precision, self.loads.get(model, "")))
        self.console.print(summary_table(self.models, precision, self.how))
        for name in self.engines:
            facts = next((found[name].facts for found in self.models.values() if found[name].facts), {})
            self.console.print(f"{TITLES[name]}: {', '.join(f'{key} {value}' for key, value in facts.items())}")
        for model, name in wrong(self.models, precision):
            self.console.print(f"[red]{model} on {TITLES[name]}: the answers are not PyTorch's[/red]")
        for model, name, reason in failures(self.models):
            self.console.print(f"[red]{model} on {TITLES[name]} failed:[/red] {escape(_line(reason))}")

    def document(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that was measured, for ``--json``. ``rounds`` are nanoseconds by round and call."""
        precision = self.setup.precision
        return {
            "options": dict(options),
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "pinning": describe(self.setup.cores),
            "loads": self.loads,
            "models": {
                model: {
                    "engines": {
                        name: asdict(one)
                        | {"least_ms": one.least_ms, "median_ms": one.median_ms, "wrong": one.wrong(precision)}
                        for name, one in engines.items()
                    },
                    "fastest_rival": {by: fastest_rival(engines, precision, by) for by in ("least", "median")},
                    "ratio": {by: ratio(engines, precision, by) for by in ("least", "median")},
                }
                for model, engines in self.models.items()
            },
            "geometric_mean": {
                by: geometric_mean(ratio(engines, precision, by) for engines in self.models.values())
                for by in ("least", "median")
            },
        }


def wrong(models: Mapping[str, Mapping[str, Measured]], precision: str) -> list[tuple[str, str]]:
    """Return the models and engines with answers that are not PyTorch's."""
    return [(model, name) for model, found in models.items() for name, one in found.items() if one.wrong(precision)]


def failures(models: Mapping[str, Mapping[str, Measured]]) -> list[tuple[str, str, str]]:
    """Return the models and engines that did not come to their end, with the reasons."""
    return [(model, name, one.failure) for model, found in models.items() for name, one in found.items() if one.failure]


def status_of(models: Mapping[str, Mapping[str, Measured]], precision: str) -> ExitCode:
    if wrong(models, precision):
        return ExitCode.FAILURE
    return ExitCode.INFRASTRUCTURE if failures(models) else ExitCode.OK


def chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    """Return the names of an option, each once. Raises UsageError for an unknown one, or none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"unknown {what} {unknown[0]!r}", cure=f"known are {', '.join(known)}")
    if not names:
        raise UsageError(f"no {what} was named", cure=f"known are {', '.join(known)}")
    return names


def precision_of(text: str) -> Precision:
    for known in PRECISIONS:
        if text == known:
            return known
    raise UsageError(f"unknown precision {text!r}", cure="known are fp32, int8")


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def main(
    models: Annotated[str, typer.Option(help="comma-separated; all of them by default")] = "",
    engines: Annotated[str, typer.Option(help="comma-separated; all that have the precision by default")] = "",
    precision: Annotated[str, typer.Option(help="fp32, or int8 with each engine's own quantization")] = "fp32",
    rounds: Annotated[int, typer.Option(min=1)] = 7,
    round_ms: Annotated[int, typer.Option(min=1, help="how long an engine is called in a round")] = 300,
    threads: Annotated[int, typer.Option(min=1, help="for every engine; ours takes what its kernels can")] = 1,
    core: Annotated[int, typer.Option(min=0, help="the first of the cores all engines are pinned to")] = 0,
    ahead: Annotated[
        bool, typer.Option(help="engines run before all other processes; needs root, for busy machines")
    ] = (False),
    deadline: Annotated[float, typer.Option(min=0.1, help="seconds for a conversion, a load and a round")] = 900.0,
    quick: Annotated[bool, typer.Option(help="two small models, two rounds of 50 ms")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples and figures here")] = None,
    markdown_path: Annotated[Path | None, typer.Option("--markdown", help="write the docs' tables here")] = None,
) -> None:
    """Compare the compiled models with ONNX Runtime, OpenVINO, LiteRT, ExecuTorch, ncnn, MNN and PyTorch.

    Examples: python benchmarks/rivals.py --models resnet-18,bert-101; python benchmarks/rivals.py --quick
    """
    console = terminal()
    if quick:
        models, rounds, round_ms = models or ",".join(QUICK), 2, 50
    options = {
        "models": models,
        "engines": engines,
        "precision": precision,
        "rounds": rounds,
        "round_ms": round_ms,
        "threads": threads,
        "core": core,
        "ahead": ahead,
        "deadline": deadline,
    }
    try:
        status = compare(console, options, json_path=json_path, markdown_path=markdown_path)
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    sys.exit(status)


def compare(
    console: Console,
    options: Mapping[str, Any],
    *,
    json_path: Path | None = None,
    markdown_path: Path | None = None,
) -> ExitCode:
    precision = precision_of(options["precision"])
    known = ENGINES if precision == "fp32" else INT8
    names = chosen(options["engines"] or ",".join(known), known, "engine")
    listed = chosen(options["models"] or ",".join(MODELS), tuple(MODELS), "model")
    cores = choose_cores(options["core"], options["threads"])
    with scheduled_first(0, wanted=options["ahead"]):  # refused at once where it may not
        cache = Cache(notice=console.print)
    usable = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else cores
    setup = Setup(
        device=HostDevice(),
        cores=cores,
        threads=options["threads"],
        precision=precision,
        deadline=options["deadline"],
        round_ns=options["round_ms"] * 1_000_000,
        cache=cache,
        ahead=options["ahead"],
    )
    with conversions(cache, usable, options["deadline"], console.print) as made:
        run = Comparison(console, setup, made, names)
        for at, model in enumerate(listed):
            console.print(f"{at + 1} of {len(listed)}: {model}", highlight=False)
            run.take(model, options["rounds"])
            if json_path:
                with replacing(json_path) as partial:
                    partial.write_text(json.dumps(run.document(options), indent=1) + "\n", encoding="utf-8")
    run.show()
    if markdown_path:
        with replacing(markdown_path) as partial:
            partial.write_text(markdown(run.models, precision), encoding="utf-8")
    return status_of(run.models, precision)


if __name__ == "__main__":
    typer.run(main)
