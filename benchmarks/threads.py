"""Time our runner with one thread and with several, alternately, and compare their answers bit for bit.

    python benchmarks/threads.py                                # two threads, the convolutional models of rivals.py
    python benchmarks/threads.py --threads 4 --models bert-101 --json threads.json

A round of a model is a fresh process for each number of threads, which loads the model, warms up and calls it for a
while. All have the same cores. A time is the median over rounds of each round's median, and a ratio the median over
rounds of one round's medians. Exit status 1 if answers differ, 3 if a model could not be run, 2 for wrong usage.
"""

from __future__ import annotations

import json
import math
import secrets
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.pinning import choose_cores, describe, pinned, scheduled_first
from benchmarks.rival_names import MODELS
from benchmarks.tables import terminal
from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.core.files import replacing
from harness.devices import HostDevice
from harness.devices.base import RunResult
from harness.models.g2p.reference import cpu_name
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import ModelSource
from harness.models.tensor.workload import TensorModel
from harness.native import Runner, build_runner
from harness.protocol.schema import Phase, Probe, RecordOptions, Sample, WorkOrder

SOURCE = Path(__file__).with_name("rival_models.py")
CONVOLUTIONAL = ("resnet-18", "mobilenet-v2", "mobilenet-v3-small", "regnet-x-400mf", "u-net", "detector")
USUAL = (*CONVOLUTIONAL, "vision-transformer", "vit-tiny", "bert-101")
LEAST_CALLS, MOST_CALLS, WARMUP = 5, 5000, 3


@dataclass
class Timed:
    """Hold a model's calls by the number of threads and the round, in nanoseconds."""

    model: str
    equal: bool = True
    rounds: dict[int, list[list[int]]] = field(default_factory=dict)

    def milliseconds(self, threads: int) -> float:
        return statistics.median(statistics.median(one) for one in self.rounds[threads]) / 1e6

    def times_faster(self, threads: int) -> float:
        """Return the median over rounds of the time with one thread over that with so many."""
        pairs = zip(self.rounds[1], self.rounds[threads], strict=True)
        return statistics.median(statistics.median(one) / statistics.median(other) for one, other in pairs)


@dataclass(frozen=True)
class Asked:
    """Hold the options of all models."""

    device: HostDevice
    cache: Cache
    cores: tuple[int, ...]
    counts: tuple[int, ...]
    round_ns: int
    deadline: float
    ahead: bool


def built(model: str, cache: Cache) -> tuple[TensorModel, Runner]:
    """Compile the model and build the runner around it, as it is deployed on this machine."""
    source = ModelSource(f"rivals:{model}", SOURCE, "benchmarks.rival_models", "spec", model)
    workload = TensorModel(describe_models([source], cache=cache, progress=lambda _text: None)[0])
    archive = compile_models(CompileRequest([workload.compilable("")]), cache=cache, progress=lambda _text: None)
    return workload, build_runner(archive, cache=cache, progress=lambda _text: None)


def run(workload: TensorModel, runner: Runner, threads: int, calls: int, asked: Asked, *, probe: bool) -> RunResult:
    """Run the model's items in a fresh process. Raises HarnessError."""
    order = WorkOrder(
        order_id=secrets.token_hex(8),
        archive_sha256=runner.archive.sha256,
        workloads=[runner.archive.metadata.models[0].workload()],
        items=list(workload.items),
        warmup=WARMUP,
        repetitions=calls,
        threads=threads,
        probe=RecordOptions() if probe else None,
    )
    # The child inherits both.
    with (
        tempfile.TemporaryDirectory(prefix="harness-threads-") as folder,
        pinned(asked.cores),
        scheduled_first(0, wanted=asked.ahead),
    ):
        result = asked.device.run(runner.path, order, Path(folder), asked.deadline, lambda _record: None)
    return result.require_complete()


def answers(result: RunResult) -> list[Any]:
    return [record.tensors for record in result.records if isinstance(record, Probe)]


def times(result: RunResult) -> list[int]:
    samples = [record for record in result.records if isinstance(record, Sample)]
    return [sample.total_ns for sample in samples if sample.phase is Phase.TIMED]


def take(model: str, rounds: int, asked: Asked) -> Timed:
    """Measure a model. Raises HarnessError."""
    workload, runner = built(model, asked.cache)
    found = Timed(model, rounds={threads: [] for threads in asked.counts})
    calls, expected = LEAST_CALLS, None
    for threads in asked.counts:
        first = run(workload, runner, threads, LEAST_CALLS, asked, probe=True)
        expected = expected or answers(first)
        found.equal = found.equal and bool(expected) and answers(first) == expected
        calls = max(calls, min(MOST_CALLS, math.ceil(asked.round_ns / statistics.median(times(first)))))
    for at in range(rounds):
        turn = asked.counts if at % 2 == 0 else asked.counts[::-1]
        for threads in turn:
            found.rounds[threads].append(times(run(workload, runner, threads, calls, asked, probe=False)))
    return found


def show(console: Console, taken: list[Timed], asked: Asked) -> None:
    table = Table(title=f"{describe(asked.cores)}, {cpu_name()}")
    table.add_column("model")
    for threads in asked.counts:
        table.add_column(f"{threads} thread{'s' if threads > 1 else ''}, ms", justify="right")
    for threads in asked.counts[1:]:
        table.add_column(f"times faster with {threads}", justify="right")
    table.add_column("answers")
    for one in taken:
        figures = [f"{one.milliseconds(threads):.3g}" for threads in asked.counts]
        ratios = [f"{one.times_faster(threads):.2f}" for threads in asked.counts[1:]]
        table.add_row(one.model, *figures, *ratios, "equal" if one.equal else "DIFFER")
    console.print(table)


def main(
    models: Annotated[str, typer.Option(help="comma-separated, of rivals.py")] = ",".join(USUAL),
    threads: Annotated[str, typer.Option(help="comma-separated numbers, besides 1")] = "2",
    rounds: Annotated[int, typer.Option(min=1)] = 7,
    round_ms: Annotated[int, typer.Option(min=1, help="how long a round calls a model")] = 300,
    core: Annotated[int, typer.Option(min=0, help="the first of as many cores as there are threads")] = 0,
    cores: Annotated[int, typer.Option(min=0, help="how many cores all runs have; 0: the most threads")] = 0,
    ahead: Annotated[bool, typer.Option(help="run before all other processes; needs root")] = False,
    deadline: Annotated[float, typer.Option(min=0.1, help="seconds for a run")] = 300.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Time one thread and several alternately, and compare the answers bit for bit."""
    console = terminal()
    try:
        sys.exit(
            compare(console, models, threads, rounds, round_ms * 1_000_000, core, cores, ahead, deadline, json_path)
        )
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)


def compare(
    console: Console,
    models: str,
    threads: str,
    rounds: int,
    round_ns: int,
    core: int,
    cores: int,
    ahead: bool,
    deadline: float,
    json_path: Path | None,
) -> ExitCode:
    names = models.split(",")
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise UsageError(f"no model {unknown[0]!r}", cure=f"the models are {', '.join(MODELS)}")
    try:
        counts = (1, *sorted({int(count) for count in threads.split(",")} - {1}))
    except ValueError as error:
        raise UsageError(f"--threads {threads} is not a list of numbers", cure="such as --threads 2,4") from error
    if len(counts) < 2 or counts[1] < 1:
        raise UsageError("one thread is compared with itself", cure="such as --threads 2")
    usable = choose_cores(core, cores or counts[-1])
    asked = Asked(HostDevice(), Cache(notice=console.print), usable, counts, round_ns, deadline, ahead)
    taken: list[Timed] = []
    for at, name in enumerate(names):
        console.print(f"{at + 1} of {len(names)}: {name}", highlight=False)
        taken.append(take(name, rounds, asked))
        if json_path:
            document = {"cores": usable, "cpu": cpu_name(), "models": [asdict(one) for one in taken]}
            with replacing(json_path) as partial:
                partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    show(console, taken, asked)
    return ExitCode.OK if all(one.equal for one in taken) else ExitCode.FAILURE


if __name__ == "__main__":
    typer.run(main)
