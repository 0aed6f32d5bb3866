"""Our runner beside transformers and llama.cpp on a language model with seeded weights, alternating in one run.

    python benchmarks/generation.py                                     # smollm2-135m in float32, one thread
    python benchmarks/generation.py --precision int8                    # llama.cpp's Q8_0 beside our int8
    python benchmarks/generation.py --precision int4                    # and Q4_0 beside our int4, heads of 8 bits
    python benchmarks/generation.py --engines ours,transformers --rounds 3 --json generation.json

A prompt of 128 tokens, and 64 tokens behind it. llama.cpp is built from the package's source the first time, for this
processor (some minutes), and gets the same weights as a GGUF file. A round of an engine runs the prompt once untimed,
then a few times. Rates are medians over all timed runs, and a ratio is the median over rounds of one round's. With one
thread, each round also reads memory as fast as it can: the last column is the time of a token over that of reading its
bytes. Peak memory is a whole process's, with Python and its packages for the other engines. Exit
status 3 if an engine could not be made or run (the others are measured), 1 if our float32 tokens are not transformers',
2 for wrong usage.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import round_order
from benchmarks.environments import environment, run_once
from benchmarks.generation_runs import TOKEN_BYTES, Measured, Run, Which, agreeing, distance, ratio
from benchmarks.pinning import choose_cores, describe, pinned, scheduled_first
from benchmarks.processes import PeerProcess
from benchmarks.tables import terminal
from benchmarks.token_costs import bandwidth, load, peak_memory, token_bytes
from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache, content_key, hash_file
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.core.files import replacing
from harness.devices import HostDevice
from harness.models.g2p.reference import cpu_name
from harness.models.language.workload import RANDOM, LanguageModel, open_language_models
from harness.models.options import ModelOptions
from harness.native import Runner, build_runner
from harness.protocol.schema import LanguageWorkload, Memory, Phase, Precision, Sample, WorkOrder

OURS, TRANSFORMERS, LLAMA = ENGINES = ("ours", "transformers", "llama.cpp")
ITEM = "128_tokens"
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")
WORKERS = Path(__file__).with_name("workers")
CONVERT_SECONDS = 900.0
CMAKE_ARGS = " ".join(
    f"-D{name}=OFF"
    for name in (
        "GGML_OPENMP",
        "LLAMA_BUILD_TESTS",
        "LLAMA_BUILD_EXAMPLES",
        "LLAMA_BUILD_TOOLS",
        "LLAVA_BUILD",
        "LLAMA_CURL",
    )
)
"""llama.cpp for this processor, with its own threads. Nothing else of the package is built."""


class Engine(Protocol):
    """One engine with the model, ready to run."""

    facts: dict[str, str]
    peak_bytes: int | None
    """The most memory that the process had resident, known after a round."""

    def round(self, repeat: int) -> tuple[list[Run], list[int]]:
        """Return the timed runs, and the tokens. Raises HarnessError."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Asked:
    """Hold the options of all engines."""

    model: LanguageModel
    precision: Precision
    cores: tuple[int, ...]
    threads: int
    deadline: float
    cache: Cache
    console: Console
    ahead: bool = False
    """Whether engines run before all other processes during their rounds."""

    @property
    def prompt(self) -> list[int]:
        return self.model.prompts[ITEM]


class OurEngine:
    """The runner, as it is deployed on this machine: a fresh process for each round."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        request = CompileRequest([asked.model.compilable("")], precision=asked.precision)
        archive = compile_models(request, cache=asked.cache, progress=_quiet)
        self.runner: Runner = build_runner(archive, cache=asked.cache, progress=_quiet)
        self.device = HostDevice()
        read = token_bytes(asked.model, asked.precision, archive.metadata.weights_bytes)
        self.facts = {"tvm": archive.metadata.tvm_version, TOKEN_BYTES: str(read)}
        self.peak_bytes: int | None = None

    def round(self, repeat: int) -> tuple[list[Run], list[int]]:
        asked = self.asked
        described = self.runner.archive.metadata.workload(asked.model.name, "language")
        assert isinstance(described, LanguageWorkload), "the archive was compiled with this model"
        order = WorkOrder(
            order_id=secrets.token_hex(8),
            archive_sha256=self.runner.archive.sha256,
            workloads=[described],
            items=[item for item in asked.model.items if item.id == ITEM],
            warmup=1,
            repetitions=repeat,
            threads=asked.threads,
        )
        # The child inherits both.
        with (
            tempfile.TemporaryDirectory(prefix="harness-generation-") as folder,
            pinned(asked.cores),
            scheduled_first(0, wanted=asked.ahead),
        ):
            result = self.device.run(self.runner.path, order, Path(folder), asked.deadline, lambda _record: None)
        records = result.require_complete().records
        samples = [record for record in records if isinstance(record, Sample)]
        self.peak_bytes = next((record.peak_bytes for record in records if isinstance(record, Memory)), None)
        timed = [sample for sample in samples if sample.phase is Phase.TIMED]
        return [run_of(sample) for sample in timed], list(timed[-1].outputs[0].token_ids)

    def close(self) -> None:
        pass


def run_of(sample: Sample) -> Run:
    """Return a sample's two times. What lies between the calls counts for the tokens after the first one."""
    first = sample.part_ns("prefill") + sample.parts["step"][0]
    return Run(first, sample.total_ns - first)


class PeerEngine:
    """An engine in a process of its own, which keeps the model."""

    def __init__(self, asked: Asked, name: str, command: Sequence[str], **load: Any) -> None:
        self.asked = asked
        self.process = PeerProcess(name, command, cores=asked.cores, threads=asked.threads)
        loaded = self.process.ask({"do": "load", "threads": asked.threads, **load}, asked.deadline)
        self.facts: dict[str, str] = loaded["facts"]
        self.peak_bytes: int | None = None

    def round(self, repeat: int) -> tuple[list[Run], list[int]]:
        request = {"do": "generate", "prompt": self.asked.prompt, "tokens": self.asked.model.tokens, "repeat": repeat}
        with scheduled_first(self.process.pid, wanted=self.asked.ahead):
            answer = self.process.ask(request, self.asked.deadline)
        self.peak_bytes = peak_memory(self.process.pid)
        return [Run(**run) for run in answer["runs"]], answer["token_ids"]

    def close(self) -> None:
        self.process.close()


def opened(name: str, asked: Asked) -> Engine:
    """Return an engine, made and loaded. Raises HarnessError."""
    if name == OURS:
        return OurEngine(asked)
    model = {"config": dict(asked.model.config), "source": {"seed": asked.model.weights["seed"]}}
    if name == TRANSFORMERS:
        command = [sys.executable, "-m", "benchmarks.workers.language_transformers"]
        return PeerEngine(asked, name, command, **model)
    python = environment(
        "llama-cpp",
        cache=asked.cache,
        progress=asked.console.print,
        built=("llama-cpp-python",),
        variables={"CMAKE_ARGS": CMAKE_ARGS},
    )
    command = [str(python), "-m", "benchmarks.workers.language_llama_cpp"]
    return PeerEngine(asked, name, command, model=str(gguf_file(command, model, asked)))


def gguf_file(command: Sequence[str], model: dict[str, Any], asked: Asked) -> Path:
    """Return the model as a GGUF file; the cache keeps it. Raises EnvironmentFailed."""
    sources = ("language_llama_cpp.py", "llama-cpp.txt")
    key = {"weights": asked.model.weights_sha256, "sources": [hash_file(WORKERS / name) for name in sources]}

    def build(folder: Path) -> None:
        asked.console.print(f"writing {asked.model.name} as GGUF")
        with tempfile.TemporaryDirectory(prefix="harness-gguf-") as workspace:
            work = Path(workspace)
            (work / "model.json").write_text(json.dumps(model), encoding="utf-8")
            (work / "config.json").write_text(json.dumps(model["config"]), encoding="utf-8")
            export = [sys.executable, "-m", "benchmarks.workers.language_transformers", "export"]
            run_once([*export, str(work / "model.json"), workspace], asked.console.print, deadline=CONVERT_SECONDS)
            written = [*command, "convert", workspace, str(work / "model.gguf"), asked.precision]
            run_once(written, asked.console.print, deadline=CONVERT_SECONDS)
            shutil.copyfile(work / "model.gguf", folder / "model.gguf")

    return asked.cache.fetch("peer-models", content_key({**key, "precision": asked.precision}), build) / "model.gguf"


def take(
    names: Sequence[str], rounds: int, repeat: int, asked: Asked, speeds: list[float] | None = None
) -> dict[str, Measured]:
    """Measure all engines, alternately. An engine that fails is left out of further rounds.

    With one thread, each round's reading speed of memory, in bytes a second, is added to ``speeds``.
    """
    found = {name: Measured() for name in names}
    running: dict[str, Engine] = {}
    try:
        for name in names:
            with _failing(found[name]):
                running[name] = opened(name, asked)
                found[name].facts = running[name].facts
        for index in range(rounds):
            for name in round_order(list(running), index):
                with _failing(found[name]):
                    runs, found[name].tokens = running[name].round(repeat)
                    found[name].rounds.append(runs)
                    found[name].peak_bytes = running[name].peak_bytes
                if found[name].failure is not None:
                    running.pop(name).close()
            if speeds is not None and asked.threads == 1:
                with scheduled_first(0, wanted=asked.ahead):
                    speeds.append(bandwidth(asked.cores))
            asked.console.print(f"round {index + 1} of {rounds}")
    finally:
        for engine in running.values():
            engine.close()
    return found


@contextmanager
def _failing(measured: Measured) -> Iterator[None]:
    """Note an engine's error, which ends nothing for the others."""
    try:
        yield
    except HarnessError as error:
        measured.failure = str(error)


def table_of(found: dict[str, Measured], asked: Asked, speeds: Sequence[float] = ()) -> Table:
    prompt, tokens = len(asked.prompt), asked.model.tokens
    place = f"{describe(asked.cores)}, {cpu_name()}, {load()}"
    title = f"{asked.model.name}, {asked.precision}, {asked.threads} thread(s), {place}"
    table = Table(title=title)
    table.add_column("engine")
    for column in (
        f"prefill {prompt}, tokens/s",
        f"decode {tokens}, tokens/s",
        "ours is ×, prefill",
        "ours is ×, decode",
    ):
        table.add_column(column, justify="right")
    table.add_column("tokens as transformers'")
    table.add_column("peak, MB", justify="right")
    table.add_column("decode is × of reading", justify="right")
    ours, expected = found.get(OURS), found.get(TRANSFORMERS)
    for name, one in found.items():
        if one.failure is not None or not one.rounds:
            table.add_row(name, "–", "–", "–", "–", one.failure or "no round", "–", "–")
            continue
        rates = [f"{one.rate('prefill', prompt):.1f}", f"{one.rate('decode', tokens):.1f}"]
        whole = ours is not None and ours.failure is None and name != OURS
        pairs: tuple[tuple[Which, int], ...] = (("prefill", prompt), ("decode", tokens))
        ratios = [f"{ratio(ours, one, which, count):.2f}" if whole and ours else "–" for which, count in pairs]
        same = (
            "–" if expected is None or not expected.tokens else f"{agreeing(one.tokens, expected.tokens)} of {tokens}"
        )
        peak = "–" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}"
        apart = distance(one, tokens, speeds)
        table.add_row(name, *rates, *ratios, same, peak, "–" if apart is None else f"{apart:.2f}")
    return table


def status_of(found: dict[str, Measured], precision: Precision) -> ExitCode:
    """Return the exit status: an engine that failed, or float32 tokens that are not transformers'."""
    if any(one.failure is not None for one in found.values()):
        return ExitCode.INFRASTRUCTURE
    expected = found[TRANSFORMERS].tokens if TRANSFORMERS in found else []
    exact = found.get(OURS) if precision == "fp32" and expected else None
    return ExitCode.FAILURE if exact is not None and exact.tokens != expected else ExitCode.OK


def main(
    model: Annotated[str, typer.Option(help="a configuration, as random:NAME takes it")] = "smollm2-135m",
    precision: Annotated[str, typer.Option(help="fp32, int8 beside Q8_0, or int4 beside Q4_0")] = "fp32",
    engines: Annotated[str, typer.Option(help="comma-separated")] = ",".join(ENGINES),
    threads: Annotated[int, typer.Option(min=1)] = 1,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    repeat: Annotated[int, typer.Option(min=1, help="timed runs of a round")] = 2,
    core: Annotated[int, typer.Option(min=0, help="the first of as many cores as there are threads")] = 0,
    ahead: Annotated[bool, typer.Option(help="run before all other processes; needs root")] = False,
    deadline: Annotated[float, typer.Option(min=1.0, help="seconds for loading, and for a round")] = 600.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all runs here")] = None,
) -> None:
    """Time the engines alternately."""
    console = terminal()
    try:
        sys.exit(compare(console, model, precision, engines, threads, rounds, repeat, core, ahead, deadline, json_path))
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)


def compare(
    console: Console,
    model: str,
    precision: str,
    engines: str,
    threads: int,
    rounds: int,
    repeat: int,
    core: int,
    ahead: bool,
    deadline: float,
    json_path: Path | None,
) -> ExitCode:
    names = engines.split(",")
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise UsageError(f"no engine {unknown[0]!r}", cure=f"the engines are {', '.join(ENGINES)}")
    wanted = next((one for one in PRECISIONS if one == precision), None)
    if wanted is None:
        raise UsageError(f"--precision {precision} is not compared", cure=f"give one of {', '.join(PRECISIONS)}")
    cores, cache = choose_cores(core, threads), Cache(notice=console.print)
    [opened_model] = open_language_models([RANDOM + model], ModelOptions(precision=wanted), cache, _quiet)
    if ITEM not in opened_model.prompts:
        raise UsageError(f"{model} has no room for a prompt of {ITEM.replace('_', ' ')}", cure="name another model")
    asked = Asked(opened_model, wanted, cores, threads, deadline, cache, console, ahead)
    speeds: list[float] = []
    found = take(names, rounds, repeat, asked, speeds)
    console.print(table_of(found, asked, speeds))
    if json_path:
        kept = {name: {"facts": one.facts, "failure": one.failure, "tokens": one.tokens,
                       "peak_bytes": one.peak_bytes,
                       "rounds": [[[run.first_ns, run.rest_ns] for run in runs] for runs in one.rounds]}
                for name, one in found.items()}  # fmt: skip
        document = {"model": model, "precision": precision, "threads": threads, "cpu": cpu_name(),
                    "bytes_a_second": speeds, "engines": kept}  # fmt: skip
        with replacing(json_path) as partial:
            partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return status_of(found, wanted)


def _quiet(_text: str) -> None:
    pass


if __name__ == "__main__":
    typer.run(main)
