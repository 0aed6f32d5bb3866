"""Measure how long a query over a thousand stored runs takes, as `harness query` in a process of its own.

    python benchmarks/history.py                       # 1,000 runs of 130 words: half a gigabyte
    python benchmarks/history.py --quick --json history.json

The runs are made in a temporary folder with a cache of its own: 130 words, both variants for parity, one timed five
times after two warm-ups. Each query runs first with nothing in the cache, then again, and then after one more
run has been made. Exit status 1 if one that is repeated (the median), or asked after a new run, takes more than the
limit.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.commands import Cost, Costs, call, load
from benchmarks.tables import terminal
from harness.core.errors import ExitCode
from harness.models.g2p.word_list import Word, default_words
from harness.results import Run, RunStatus, Store
from harness.results.store import SAMPLES
from harness.results.summarize import summarize

REPEATS = 5
WARMUP, TIMED = 2, 5
STEPS = 10
QUERIES = {
    "latency of every run": (
        "SELECT run, commit, median_ns, p95_ns, of_pytorch FROM runs JOIN workloads USING (run) ORDER BY started"
    ),
    "slowest words": (
        "SELECT item, median(total_ns) AS ns FROM samples WHERE phase = 'timed' GROUP BY item ORDER BY ns DESC LIMIT 10"
    ),
    "a median for each run, from samples": (
        "SELECT run, median(total_ns) FROM samples JOIN orders USING (run, order_id) "
        "WHERE phase = 'timed' AND purpose = 'latency' GROUP BY run"
    ),
    "words that ever differed": "SELECT label, count(*) FROM parity WHERE verdict <> 'equal' GROUP BY label",
    "PyTorch against the runner": (
        "SELECT r.label, median(list_median(p.artifact_ns) / list_median(p.pytorch_ns)) FROM pairs p "
        "JOIN reference r USING (run, item) GROUP BY r.label"
    ),
}


@dataclass(frozen=True)
class Timing:
    """Seconds of one query in a fresh process: without a cache, repeated, and after a new run."""

    title: str
    first: float
    repeated: float
    """Median."""
    repeated_least: float
    repeated_cpu: float
    """Of the processor: what the repeated query takes however busy the machine is with others."""
    after_new_run: float


def make_runs(root: Path, count: int, words: list[Word], rng: np.random.Generator, console: Console) -> None:
    for at in track(range(count), "making runs", console=console, transient=True):
        make_run(root, words, rng, commit=f"{at:040x}")


def make_run(root: Path, words: list[Word], rng: np.random.Generator, commit: str) -> None:
    """Write one whole run as the harness leaves it, its times drawn."""
    level = float(np.exp(rng.normal(0, 0.04)))
    writer = Store(root).create(
        git={"commit": commit, "dirty": False},
        device={"kind": "host", "name": "host", "cpu_model": "simulated"},
        options={"precision": "fp32", "threads": 1, "repeat": TIMED, "warmup": WARMUP},
        versions={"python": "3"},
        checkpoint={"label": "embedded", "sha256": "0" * 64},
        words={"count": len(words), "languages": ["all"], "sha256": "0" * 64, "source": "shipped"},
        variants={
            "cache": {
                "archive_sha256": "a" * 64,
                "archive_bytes": 5_000_000,
                "runner_sha256": "b" * 64,
                "runner_bytes": 9_000_000,
                "target": "llvm",
            }
        },
        orders=[
            {
                "order_id": "latency-cache",
                "purpose": "latency",
                "variant": "cache",
                "started": "2026-01-01T00:00:00+00:00",
                "complete": True,
            }
        ],
    )
    (writer.folder / SAMPLES).write_text("".join(_samples(words, level, rng)), encoding="utf-8")
    (writer.folder / "reference.jsonl").write_text("".join(_reference(words, rng)), encoding="utf-8")
    (writer.folder / "pairs.jsonl").write_text("".join(_pairs(words, level, rng)), encoding="utf-8")
    (writer.folder / "parity.jsonl").write_text("".join(_parity(words, rng)), encoding="utf-8")
    run = Run(writer.folder)
    manifest = writer.manifest.model_copy(update={"status": RunStatus.COMPLETE, "reason": None})
    # Bootstrap intervals of a thousand runs would take minutes, and are no part of a query: made from a few words.
    few = {f"w{number:05d}" for number in range(3)}
    writer.summary(
        summarize(
            manifest,
            [line for line in run.reference() if line.item in few],
            [line for line in run.samples() if few & set(getattr(line.record, "items", ()))],
            [line for line in run.parity() if line.item in few],
            pairs=run.pairs(),
        )
    )
    writer.finish(RunStatus.COMPLETE)


def _samples(words: list[Word], level: float, rng: np.random.Generator) -> Iterator[str]:
    ids = json.dumps([*range(100, 100 + STEPS - 1), 1])
    passes = [("warmup", at) for at in range(WARMUP)] + [("timed", at) for at in range(TIMED)]
    for phase, repetition in passes:
        times = (level * rng.uniform(0.9, 1.1, (len(words), STEPS + 2)) * 100_000).astype(int).tolist()
        for number, (word, row) in enumerate(zip(words, times, strict=True)):
            yield (
                f'{{"order":"latency-cache","record":{{"record":"sample","workload":"g2p","items":["w{number:05d}"],'
                f'"phase":"{phase}","repetition":{repetition},"total_ns":{sum(row) + 5000},'
                f'"parts":{{"encoder":[{row[0]}],"prefill":[{row[1]}],"step":{row[2:]}}},"outputs":[{{"token_ids":{ids},'
                f'"text":{json.dumps(word.word)},"margins":null,"logits":null}}]}}}}\n'
            )


def _reference(words: list[Word], rng: np.random.Generator) -> Iterator[str]:
    for number, word in enumerate(words):
        yield (
            json.dumps(
                {
                    "item": f"w{number:05d}",
                    "language": word.language,
                    "word": word.word,
                    "pronunciations": list(word.pronunciations),
                    "token_ids": [*range(100, 100 + STEPS - 1), 1],
                    "text": word.word,
                    "margins": rng.uniform(0, 9, STEPS).round(4).tolist(),
                }
            )
            + "\n"
        )


def _pairs(words: list[Word], level: float, rng: np.random.Generator) -> Iterator[str]:
    for number in range(4):
        for at in range(0, len(words), 10):
            line = {"model": "g2p", "item": f"w{at:05d}", "round": number, "first": ("artifact", "pytorch")[number % 2]}
            ours = (level * rng.uniform(0.9, 1.1, 3) * 2_000_000).astype(int).tolist()
            theirs = rng.integers(20_000_000, 30_000_000, 1).tolist()
            yield json.dumps(line | {"artifact_ns": ours, "pytorch_ns": theirs}) + "\n"


def _parity(words: list[Word], rng: np.random.Generator) -> Iterator[str]:
    for comparison in ("cache", "cacheless", "cache, timed"):
        for number, word in enumerate(words):
            line = {"comparison": comparison, "item": f"w{number:05d}", "language": word.language, "word": word.word}
            verdict = "mismatch" if rng.random() < 0.001 else "equal"
            yield json.dumps(line | {"verdict": verdict, "expected": word.word, "got": word.word}) + "\n"


def ask(sql: str, results: Path, cache: Path) -> Cost:
    """Return what ``harness query`` costs; raises CalledProcessError."""
    command = [sys.executable, "-m", "harness.cli", "query", "--results-dir", str(results), "--format", "csv", sql]
    return call(command, results.parent, HARNESS_CACHE_DIR=str(cache))


def main(
    runs: Annotated[int, typer.Option(min=1)] = 1000,
    limit: Annotated[float, typer.Option(help="seconds that a repeated query may take")] = 2.0,
    seed: int = 1,
    quick: Annotated[bool, typer.Option(help="20 runs")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all figures here")] = None,
) -> None:
    """Make runs, and time queries over them."""
    console = terminal()
    runs = 20 if quick else runs
    rng, words = np.random.default_rng(seed), default_words()
    with tempfile.TemporaryDirectory(prefix="harness-history-") as folder:
        results, cache = Path(folder) / "results", Path(folder) / "cache"
        make_runs(results, runs, words, rng, console)
        size = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
        timings = []
        ask("SELECT 1", results, cache)
        for title, sql in QUERIES.items():
            shutil.rmtree(cache, ignore_errors=True)
            first = ask(sql, results, cache).wall
            again = Costs([ask(sql, results, cache) for _ in range(REPEATS)])
            make_run(results, words, rng, commit="f" * 40)
            after = ask(sql, results, cache).wall
            timings.append(Timing(title, first, again.median, again.least, again.cpu, after))
        kept = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    table = Table(title=f"{runs} runs, {size / 1e6:.0f} MB; seconds of `harness query`, process start included")
    titles = ("nothing cached", f"repeated (median of {REPEATS})", "the least", "of the processor", "after a new run")
    for column in ("query", *titles):
        table.add_column(column, justify="left" if column == "query" else "right")
    for timing in timings:
        figures = (timing.first, timing.repeated, timing.repeated_least, timing.repeated_cpu, timing.after_new_run)
        table.add_row(timing.title, *(f"{seconds:.2f}" for seconds in figures))
    console.print(table)
    console.print(f"the last query's tables take {kept / 1e6:.1f} MB in the cache; {load()}")
    if json_path:
        json_path.write_text(
            json.dumps({"runs": runs, "bytes": size, "timings": [asdict(t) for t in timings]}) + "\n", encoding="utf-8"
        )
    slow = [timing.title for timing in timings if max(timing.repeated, timing.after_new_run) > limit]
    if slow:
        console.print(f"above {limit:g} s: {', '.join(slow)}")
        sys.exit(ExitCode.FAILURE)


if __name__ == "__main__":
    typer.run(main)
