"""Run the engines of the comparison: the runner as it is deployed, and the peers in environments of their own."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.comparison import Answer, BatchTime
from benchmarks.environments import converted, environment
from benchmarks.pinning import pinned, step_aside
from benchmarks.processes import PeerProcess
from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import HarnessError, UsageError
from harness.devices import Device
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.items import word_item
from harness.models.g2p.word_list import Word
from harness.models.g2p.workload import DEFAULT_OPTIONS, g2p_compilable
from harness.native import Runner, build_runner
from harness.protocol.schema import Header, Phase, Sample, WorkOrder

PRECISIONS = ("fp32", "fp16", "int8")
OURS = tuple(f"ours-{precision}" for precision in PRECISIONS)
TRANSFORMERS = "transformers"
ONNXRUNTIME = "onnxruntime"
CTRANSLATE2 = ("ctranslate2-float32", "ctranslate2-int8")
ENGINES = (*OURS, *CTRANSLATE2, ONNXRUNTIME, TRANSFORMERS)
FLOAT32 = ("ours-fp32", "ctranslate2-float32", ONNXRUNTIME, TRANSFORMERS)
"""Engines that compute what PyTorch computes, up to rounding."""
BASELINES = (*CTRANSLATE2, TRANSFORMERS)

NATURAL_TOKENS = 128
"""Most tokens of a word when it ends by itself."""
WARMUP_BATCHES = 8
"""A peer's caches are other engines' after their round; these batches bring its weights back. Untimed."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """What every engine is asked for. ``deadline``: seconds for one pass over all words, or for loading."""

    checkpoint: Checkpoint
    device: Device
    cores: tuple[int, ...]
    threads: int
    batch_size: int
    forced_tokens: int | None
    deadline: float
    cache: Cache
    progress: Progress

    @property
    def max_tokens(self) -> int:
        return self.forced_tokens or NATURAL_TOKENS


def least_agreement(name: str, *, forced: bool) -> float:
    """Share of words with PyTorch's ids below which an engine's model is not the checkpoint's any more.

    Then a conversion is wrong or a kernel broken, and the times mean nothing. Rounding a trained model's weights to 8
    bits costs a few words in a hundred; weights that need forced lengths are random, and their logits nearly tie.
    """
    if name in FLOAT32:
        return 0.99
    return 0.0 if forced else 0.8


class OtherBatches(HarnessError):
    """The runner groups words by itself; peers get the groups of ``comparison.batches_of``, which must be the same."""

    cure = "leave our engines out with --engines, or make comparison.batches_of group as the runner does"


class Engine(Protocol):
    @property
    def facts(self) -> dict[str, str]:
        """Versions and settings."""
        ...

    def measure(self, batches: Sequence[Sequence[Word]]) -> list[BatchTime]:
        """Take one pass over all batches on the warm engine; raises HarnessError if it cannot be made."""
        ...

    def close(self) -> None: ...


class RunnerEngine:
    """Our artifact: each pass is a fresh process that warms up on all words and then times each once."""

    def __init__(self, runner: Runner, setup: Setup) -> None:
        self.runner, self.setup = runner, setup
        self.threads = min(setup.threads, runner.archive.metadata.max_threads)
        metadata = runner.archive.metadata
        self.facts = {"tvm": metadata.tvm_version, "target": metadata.target, "threads": str(self.threads)}

    def samples(self, batches: Sequence[Sequence[Word]]) -> list[Sample]:
        """Return the timed sample of every batch, in order."""
        words = [word for batch in batches for word in batch]
        order = WorkOrder(
            order_id=str(uuid.uuid4()),
            archive_sha256=self.runner.archive.sha256,
            workloads=[self.runner.archive.metadata.generation()],
            items=[word_item(str(i), w.language, w.word) for i, w in enumerate(words)],
            warmup=1,
            repetitions=1,
            threads=self.threads,
        )
        with tempfile.TemporaryDirectory(prefix="harness-peers-") as folder, pinned(self.setup.cores) as usable:

            def follow(record: object) -> None:
                # The child keeps the cores it inherited; who reads its results should not share them.
                if isinstance(record, Header):
                    step_aside(self.setup.cores, usable)

            result = self.setup.device.run(self.runner.path, order, Path(folder), self.setup.deadline, follow)
        result.require_complete()
        timed = {
            tuple(record.items): record
            for record in result.records
            if isinstance(record, Sample) and record.phase is Phase.TIMED
        }
        ids = iter(map(str, range(len(words))))
        wanted = [tuple(next(ids) for _ in batch) for batch in batches]
        if set(wanted) != set(timed):
            raise OtherBatches("the runner put the words into other batches than the peers were given")
        return [timed[items] for items in wanted]

    def measure(self, batches: Sequence[Sequence[Word]]) -> list[BatchTime]:
        return [
            BatchTime(sample.total_ns, tuple(Answer(tuple(o.token_ids), o.text) for o in sample.outputs))
            for sample in self.samples(batches)
        ]

    def close(self) -> None:
        pass


class PeerEngine:
    """Another engine, in a process that lives as long as the comparison."""

    def __init__(self, process: PeerProcess, load: dict[str, Any], deadline: float) -> None:
        self.process, self.deadline = process, deadline
        self.facts: dict[str, str] = process.ask({"do": "load", **load}, deadline)["facts"]

    def measure(self, batches: Sequence[Sequence[Word]]) -> list[BatchTime]:
        texts = [[f"<{word.language}>: {word.word}" for word in batch] for batch in batches]
        answer = self.process.ask({"do": "pass", "batches": texts, "warmup": WARMUP_BATCHES}, self.deadline)
        return [
            BatchTime(b["ns"], tuple(Answer(tuple(i), t) for i, t in zip(b["token_ids"], b["texts"], strict=True)))
            for b in answer["batches"]
        ]

    def close(self) -> None:
        self.process.close()


def open_engine(name: str, setup: Setup) -> Engine:
    """Make what the engine needs and load it; raises HarnessError naming what is missing."""
    if name in OURS:
        return RunnerEngine(build_ours(name.removeprefix("ours-"), setup), setup)
    python, load = _peer(name, setup)
    common = {"threads": setup.threads, "max_tokens": setup.max_tokens, "forced_tokens": setup.forced_tokens}
    module = f"benchmarks.workers.{name.split('-')[0]}_worker"
    process = PeerProcess(name, [str(python), "-m", module], cores=setup.cores, threads=setup.threads)
    try:
        return PeerEngine(process, load | common, setup.deadline)
    except BaseException:
        process.close()
        raise


def build_ours(precision: str, setup: Setup) -> Runner:
    """Build the runner with the checkpoint compiled in that precision."""
    sizes = dataclasses.replace(DEFAULT_OPTIONS, batch_size=setup.batch_size, max_output_len=setup.max_tokens)
    request = CompileRequest([g2p_compilable(setup.checkpoint, sizes)])
    known = {field.name for field in dataclasses.fields(CompileRequest)}
    if "precision" in known:
        chosen: dict[str, Any] = {"precision": precision}
        request = dataclasses.replace(request, **chosen)
    elif precision != "fp32":
        raise UsageError(f"this compiler has no precision {precision}", cure="leave the engine out with --engines")
    archive = compile_models(request, cache=setup.cache, progress=setup.progress)
    return build_runner(archive, cache=setup.cache, progress=setup.progress)


def _peer(name: str, setup: Setup) -> tuple[Path, dict[str, Any]]:
    """Return a peer's Python and what its worker loads."""
    cache, progress, checkpoint = setup.cache, setup.progress, setup.checkpoint
    if name == TRANSFORMERS:
        return Path(sys.executable), {"model": str(checkpoint.folder)}
    if name == ONNXRUNTIME:
        python = environment("onnxruntime", cache=cache, progress=progress)
        command = [str(python), "-m", "benchmarks.workers.onnxruntime_worker", "--convert"]
        model = converted(name, command, "onnxruntime", checkpoint, cache=cache, progress=progress)
        return python, {"model": str(model)}
    python = environment("ctranslate2", cache=cache, progress=progress)
    converter = environment("ctranslate2-convert", cache=cache, progress=progress)
    command = [str(converter), "-m", "benchmarks.workers.ctranslate2_convert"]
    model = converted("ctranslate2", command, "ctranslate2-convert", checkpoint, cache=cache, progress=progress)
    return python, {"model": str(model), "compute_type": name.removeprefix("ctranslate2-")}
