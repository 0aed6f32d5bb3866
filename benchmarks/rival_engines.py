"""Run the engines of rivals.py: the runner as it is deployed, and the rivals in processes of their own."""

from __future__ import annotations

import math
import secrets
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.pinning import pinned, scheduled_first, step_aside
from benchmarks.processes import PeerProcess
from benchmarks.rival_conversions import MODELS, Conversions, size_of, start
from benchmarks.rival_names import OURS, PYTORCH
from benchmarks.rival_tables import Measured, calls_of, largest_error, memory_of, number_of
from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import HarnessError, UsageError
from harness.devices import Device
from harness.devices.base import RunResult
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import ModelSource
from harness.models.tensor.workload import TensorModel
from harness.native import Runner, build_runner
from harness.protocol.schema import Header, Load, Memory, Phase, Precision, Probe, RecordOptions, Sample, WorkOrder
from harness.protocol.tensors import decode

LEAST_CALLS, MOST_CALLS = 3, 5000


@dataclass(frozen=True)
class Setup:
    """What every engine is asked for. ``deadline``: seconds for loading, and for a round. ``round_ns``: its length."""

    device: Device
    cores: tuple[int, ...]
    threads: int
    precision: Precision
    deadline: float
    round_ns: int
    cache: Cache
    ahead: bool = False
    """Whether engines run before all other processes during their rounds."""


class Engine(Protocol):
    """One engine with one model, loaded; it fills the ``measured`` that it holds."""

    measured: Measured

    def round(self) -> None:
        """Take one round; raises HarnessError."""
        ...

    def finish(self) -> None:
        """Find what only the end shows, such as the most memory. Raises HarnessError."""
        ...

    def close(self) -> None: ...


class RivalEngine:
    """Another engine, in a process that lives as long as the model is measured."""

    def __init__(self, process: PeerProcess, model: str, source: Path, size: int | None, setup: Setup) -> None:
        self.process, self.setup = process, setup
        load = {"do": "load", "model": model, "inputs": str(source / "inputs.npz"), "threads": setup.threads}
        process.ask({"do": "prepare"}, setup.deadline)
        with scheduled_first(process.pid, wanted=setup.ahead):
            answer = process.ask(load, setup.deadline)
        self.measured = Measured(
            load_ns=[number_of(answer, "load_ns")],
            first_ns=number_of(answer, "first_ns"),
            size_bytes=size,
            facts={str(key): str(value) for key, value in dict(answer.get("facts", {})).items()},
        )
        with tempfile.TemporaryDirectory(prefix="harness-rivals-") as temporary:
            file = Path(temporary) / "answer.npz"
            process.ask({"do": "answer", "file": str(file)}, setup.deadline)
            self.measured.error = largest_error(arrays_of(file), arrays_of(source / "expected.npz"))

    def round(self) -> None:
        with scheduled_first(self.process.pid, wanted=self.setup.ahead):
            answer = self.process.ask({"do": "round", "ns": self.setup.round_ns}, self.setup.deadline)
        self.measured.rounds.append(calls_of(answer))

    def finish(self) -> None:
        self.measured.memory_bytes = memory_of(self.process.ask({"do": "memory"}, self.setup.deadline))

    def close(self) -> None:
        self.process.close()


class RunnerEngine:
    """Our artifact: each round is a fresh process that loads the model, warms up and calls it."""

    def __init__(self, runner: Runner, model: TensorModel, source: Path, setup: Setup) -> None:
        self.runner, self.model, self.setup = runner, model, setup
        metadata = runner.archive.metadata
        self.threads = min(setup.threads, metadata.max_threads)
        facts = {"tvm": metadata.tvm_version, "target": metadata.target, "threads": str(self.threads)}
        self.measured = Measured(size_bytes=runner.size, facts=facts)
        result = self._run(LEAST_CALLS, probe=True)
        probes = [record.tensors for record in result.records if isinstance(record, Probe)]
        found = decode(probes[0]) if probes and probes[0] is not None else {}
        names = [one.name for one in model.model.facts.outputs]
        answers = [found[name] for name in names if name in found]
        self.measured.error = largest_error(answers, arrays_of(source / "expected.npz"))
        times = timed(result)
        first = [one.total_ns for one in samples(result) if one.phase is Phase.FIRST]
        self.measured.first_ns = first[0] if first else None
        self.calls = max(LEAST_CALLS, min(MOST_CALLS, math.ceil(setup.round_ns / statistics.median(times))))

    def round(self) -> None:
        result = self._run(self.calls)
        self.measured.rounds.append(timed(result))
        self.measured.load_ns.append(sum(one.load_ns for one in result.records if isinstance(one, Load)))
        peaks = [one.peak_bytes for one in result.records if isinstance(one, Memory) and one.peak_bytes]
        self.measured.memory_bytes = max([*peaks, self.measured.memory_bytes or 0]) or None

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _run(self, calls: int, *, probe: bool = False) -> RunResult:
        order = WorkOrder(
            order_id=secrets.token_hex(8),
            archive_sha256=self.runner.archive.sha256,
            workloads=[self.runner.archive.metadata.models[0].workload()],
            items=list(self.model.items),
            warmup=1,
            repetitions=calls,
            threads=self.threads,
            probe=RecordOptions() if probe else None,
        )
        cores = self.setup.cores
        with tempfile.TemporaryDirectory(prefix="harness-rivals-") as folder, pinned(cores) as usable:

            def follow(record: object) -> None:
                # The child keeps the cores it inherited; who reads its results should not share them.
                if isinstance(record, Header):
                    step_aside(cores, usable)

            with scheduled_first(0, wanted=self.setup.ahead):  # the child inherits it
                result = self.setup.device.run(self.runner.path, order, Path(folder), self.setup.deadline, follow)
        return result.require_complete()


def samples(result: RunResult) -> list[Sample]:
    return [record for record in result.records if isinstance(record, Sample)]


def timed(result: RunResult) -> list[int]:
    return [one.total_ns for one in samples(result) if one.phase is Phase.TIMED]


def arrays_of(file: Path) -> list[Any]:
    """Return the arrays of a file of ``out0``, ``out1`` and so on; raises HarnessError for another file."""
    try:
        with np.load(file) as kept:
            return [kept[f"out{at}"] for at in range(len(kept.files))]
    except (OSError, KeyError, ValueError) as error:
        raise HarnessError(f"{file.name} has no answers: {error}") from error


def open_engine(name: str, model: str, setup: Setup, made: Conversions) -> Engine:
    """Make what the engine needs and load it; raises HarnessError with what is missing."""
    source = made.exported(model)
    if name == OURS:
        workload, runner = build_ours(model, setup, made)
        return RunnerEngine(runner, workload, source, setup)
    if name == PYTORCH and setup.precision != "fp32":
        raise UsageError("eager PyTorch has float32 only here", cure="leave it out with --engines")
    folder = made.converted(name, model, setup.precision)
    size = None if name == PYTORCH else size_of(folder)
    process = start(name, made.python(name), setup.cores, setup.threads)
    try:
        return RivalEngine(process, model if name == PYTORCH else str(folder), source, size, setup)
    except BaseException:
        process.close()
        raise


def build_ours(model: str, setup: Setup, made: Conversions) -> tuple[TensorModel, Runner]:
    """Compile the model and build the runner around it, as it is deployed on this machine."""
    source = ModelSource(f"rivals:{model}", MODELS, "benchmarks.rival_models", "spec", model)
    made.progress(f"compiling {model}{'' if setup.precision == 'fp32' else f' in {setup.precision}'}")
    described = describe_models([source], cache=setup.cache, progress=lambda _text: None)[0]
    workload = TensorModel(described)
    request = CompileRequest([workload.compilable("")], precision=setup.precision)
    archive = compile_models(request, cache=setup.cache, progress=lambda _text: None)
    return workload, build_runner(archive, cache=setup.cache, progress=lambda _text: None)
