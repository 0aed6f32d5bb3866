"""Our artifact against PyTorch, word by word, alternating in one run.

    python benchmarks/latency.py                                  # the embedded model
    python benchmarks/latency.py --checkpoint random:tiny-8 --max-output-len 20
    python benchmarks/latency.py --quick --json latency.json

Each round runs the device runner (a fresh process: one pass to warm up, one timed) and then transformers'
``generate`` on the same words, both pinned to one core with one thread; which goes first changes every round. The
figure of an engine is the median over words of each word's median over rounds. Exit status 1 if any output differs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import ExitCode
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.items import encode_prompt, word_item
from harness.models.g2p.loading import load_checkpoint
from harness.models.g2p.reference import cpu_name
from harness.models.g2p.word_list import Word, default_words
from harness.models.g2p.workload import DEFAULT_OPTIONS, g2p_compilable
from harness.native import Runner, build_runner
from harness.protocol.schema import Phase, Sample, WorkOrder

DEADLINE_SECONDS = 600.0


@dataclass
class Engine:
    """One engine's nanoseconds and answers, by word."""

    name: str
    samples: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, list[int]] = field(default_factory=dict)

    def median_ms(self) -> float:
        return statistics.median(statistics.median(times) for times in self.samples.values()) / 1e6


def run_ours(engine: Engine, runner: Runner, words: list[Word], threads: int) -> None:
    metadata = runner.archive.metadata
    order = WorkOrder(
        order_id=str(uuid.uuid4()),
        archive_sha256=runner.archive.sha256,
        workloads=[metadata.generation()],
        items=[word_item(str(i), w.language, w.word) for i, w in enumerate(words)],
        warmup=1,
        repetitions=1,
        threads=threads,
    )
    with tempfile.TemporaryDirectory(prefix="harness-latency-") as folder:
        result = HostDevice().run(runner.path, order, Path(folder), DEADLINE_SECONDS, lambda _record: None)
    if not result.complete:
        raise SystemExit(f"the runner did not finish: {result.reason}")
    for record in result.records:
        if isinstance(record, Sample) and record.phase is Phase.TIMED:
            engine.samples[record.items[0]].append(record.total_ns)
            engine.answers[record.items[0]] = record.outputs[0].token_ids


def run_torch(engine: Engine, t5: Any, words: list[Word], max_output_len: int) -> None:
    for index, word in enumerate(words):
        began = time.perf_counter_ns()
        ids = torch.tensor([encode_prompt(word.language, word.word)])
        with torch.inference_mode():
            output = t5.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=1,
                max_new_tokens=max_output_len,
            )
        engine.samples[str(index)].append(time.perf_counter_ns() - began)
        engine.answers[str(index)] = output[0, 1:].tolist()


def main(
    checkpoint: Annotated[str, typer.Option(help="as for pytest suites")] = "embedded",
    rounds: Annotated[int, typer.Option(min=1)] = 10,
    words: Annotated[int, typer.Option(min=1, help="how many of the shipped words")] = 130,
    max_output_len: Annotated[int, typer.Option(help="random weights never end by themselves")] = 128,
    kv_cache: Annotated[bool, typer.Option("--kv-cache/--no-kv-cache")] = True,
    threads: int = 1,
    core: Annotated[int, typer.Option(help="the core both are pinned to")] = 0,
    quick: Annotated[bool, typer.Option(help="13 words, 3 rounds")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Compare the compiled artifact with PyTorch, side by side in one run."""
    console = Console()
    if quick:
        words, rounds = 13, 3
    cache = Cache(notice=console.print)
    chosen = default_words()
    chosen = chosen[:: max(1, len(chosen) // words)][:words]
    resolved = resolve_checkpoint(checkpoint, cache=cache)
    sizes = replace(DEFAULT_OPTIONS, max_output_len=max_output_len)
    request = CompileRequest([g2p_compilable(resolved, sizes, kv_cache=kv_cache)])
    runner = build_runner(
        compile_models(request, cache=cache, progress=console.print), cache=cache, progress=console.print
    )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(threads)
    t5 = load_checkpoint(resolved.folder)
    ours, pytorch = Engine("compiled (this project)"), Engine(f"PyTorch {torch.__version__}, transformers generate")
    run_torch(Engine("warm-up"), t5, chosen[:3], max_output_len)
    steps = {
        ours.name: lambda: run_ours(ours, runner, chosen, threads),
        pytorch.name: lambda: run_torch(pytorch, t5, chosen, max_output_len),
    }
    for index in track(range(rounds), description="rounds", console=console):
        for name in sorted(steps, reverse=bool(index % 2)):
            steps[name]()
    report(console, ours, pytorch, checkpoint, rounds, threads, core)
    different = [chosen[int(i)].word for i in ours.answers if ours.answers[i] != pytorch.answers[i]]
    console.print(f"token ids equal on {len(ours.answers) - len(different)} of {len(ours.answers)} words")
    if json_path:
        json_path.write_text(
            json.dumps(
                {
                    "checkpoint": checkpoint,
                    "cpu": cpu_name(),
                    "samples_ns": {e.name: e.samples for e in (ours, pytorch)},
                }
            ),
            encoding="utf-8",
        )
    sys.exit(ExitCode.FAILURE if different else ExitCode.OK)


def report(
    console: Console, ours: Engine, pytorch: Engine, checkpoint: str, rounds: int, threads: int, core: int
) -> None:
    how = f"median per word over {rounds} alternating rounds, {threads} thread, core {core}, {cpu_name()}"
    table = Table(title=f"{checkpoint}: {how}")
    for title in ("engine", "ms per word", "of PyTorch"):
        table.add_column(title, justify="left" if title == "engine" else "right")
    for engine in (ours, pytorch):
        table.add_row(engine.name, f"{engine.median_ms():.3f}", f"{engine.median_ms() / pytorch.median_ms():.3f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
