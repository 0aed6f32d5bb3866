"""Measure what a report of a million samples costs: the whole command, the page's bytes, the pictures.

    python benchmarks/report.py                      # four runs of 250,000 samples
    python benchmarks/report.py --samples 100000 --runs 2 --out page.html

The runs are made up and kept in a temporary folder. Their samples are written as a runner writes them: 130 words, each
with its own length, noise of 4 % and now and then a slow one. The command is timed as a person calls it, with the
start of Python, several times, after once for its bytecode. If chromium is there, it opens the page, and the time
until every picture is drawn is printed too. Exit status 1 if a limit is missed, that of time by the median.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.commands import Costs, call, load
from benchmarks.tables import terminal
from harness.core.errors import ExitCode
from harness.models.g2p.items import word_item
from harness.protocol.schema import GenerationWorkload, WorkOrder
from harness.results import OrderEntry, ReferenceLine, RunStatus, Store, VariantFacts, WorkloadFacts, now
from harness.results.store import SAMPLES
from harness.results.summarize import summarize

WORDS = 130
LIMIT_SECONDS, LIMIT_BYTES = 5.0, 5_000_000
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()", "report"]


def make_run(store: Store, samples: int, seed: int) -> str:
    """Write a run of so many timed samples; returns its id."""
    rng = np.random.default_rng(seed)
    items = [f"w{at:05d}" for at in range(WORDS)]
    words = WorkloadFacts(
        kind="generation", source="g2p", label="made up", weights_sha256="0" * 64, items=WORDS, unit="word",
        subsets=["eng-us"], compare="tokens",
    )  # fmt: skip
    facts = VariantFacts(
        archive_sha256="0" * 64,
        archive_bytes=20_000_000,
        runner_sha256="0" * 64,
        runner_bytes=26_000_000,
        target="llvm",
    )
    writer = store.create(
        device={"kind": "host", "name": "host", "cores": 2},
        workloads={"g2p": words},
        variants={"cache": facts},
        options={},
    )
    writer.reference(
        ReferenceLine(
            workload="g2p", item=item, subset="eng-us", label=f"word{item}", token_ids=[3, 1], text="a",
            margins=[1.0, 1.0],
        )
        for item in items
    )  # fmt: skip
    entry = OrderEntry(order_id="latency-cache-0", purpose="latency", workload="g2p", variant="cache", started=now())
    model = GenerationWorkload(
        name="g2p", functions={"encoder": "e_"}, use_kv_cache=True, batch_size=1, max_input_bytes=64,
        max_output_len=128, vocab_size=384,
    )  # fmt: skip
    order = WorkOrder(
        order_id=entry.order_id,
        archive_sha256="0" * 64,
        workloads=[model],
        items=[word_item(item, "eng-us", item) for item in items],
    )
    writer.begin_order(entry, order)
    writer.end_order(entry.model_copy(update={"ended": now(), "complete": True}))
    steps = rng.integers(4, 16, WORDS)
    with (writer.folder / SAMPLES).open("w", encoding="utf-8") as file:
        for at in range(samples):
            word, slow = at % WORDS, 1 + (rng.random() < 0.002) * rng.exponential(1)
            times = (rng.normal(1, 0.04, steps[word] + 2) * slow * 72_000).astype(int).tolist()
            encoder, prefill, parts = 20 * times[0], 3 * times[1], times[2:]
            output = {
                "token_ids": list(range(100, 100 + len(parts))),
                "text": "waraʃʃ",
                "margins": None,
                "logits": None,
            }
            record = {
                "record": "sample", "workload": "g2p", "items": [items[word]], "phase": "timed",
                "repetition": at // WORDS, "total_ns": encoder + prefill + sum(parts) + 11_000,
                "parts": {"encoder": [encoder], "prefill": [prefill], "step": parts}, "outputs": [output],
            }  # fmt: skip
            line = json.dumps({"order": entry.order_id, "record": record}, separators=(",", ":"), ensure_ascii=False)
            file.write(line + "\n")
    writer.summary(summarize(writer.manifest, (), store.find(writer.run_id).samples(), ()))
    writer.finish(RunStatus.COMPLETE)
    return writer.run_id


def drawn_seconds(page: Path, browser: str) -> float:
    """From opening the page to its last picture, in headless chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1280, "height": 20_000})
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_function(
            "() => [...document.querySelectorAll('[data-figure]')].every((one) => one.dataset.drawn)", timeout=60_000
        )
        seconds = time.perf_counter() - began
        chromium.close()
    return seconds


def main(
    samples: Annotated[int, typer.Option(min=1, help="of all runs together")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1)] = 4,
    calls: Annotated[int, typer.Option(min=1, help="of the command, timed")] = 5,
    out: Annotated[Path | None, typer.Option(help="keep the page here")] = None,
) -> None:
    """Make the runs, time the report, look at the page."""
    console = terminal()
    with tempfile.TemporaryDirectory(prefix="harness-report-") as folder:
        results, page = Path(folder, "results"), out or Path(folder, "page.html")
        names = [make_run(Store(results), samples // runs, seed) for seed in range(runs)]
        written = sum(path.stat().st_size for path in results.rglob(SAMPLES))
        console.print(f"{samples:,} samples in {runs} runs, {written / 1e6:.0f} MB of {SAMPLES}")
        command = [*COMMAND, *names, "--results-dir", str(results), "--output", str(page)]
        call(command, Path(folder))
        costs, size = Costs([call(command, Path(folder)) for _ in range(calls)]), page.stat().st_size
        console.print(
            f"the report took {costs.median:.2f} s (median of {calls}, the least {costs.least:.2f}, limit "
            f"{LIMIT_SECONDS:g}), {costs.cpu:.2f} s of them on a processor; {load()}"
        )
        console.print(f"the page has {size:,} bytes (limit {LIMIT_BYTES:,})")
        if browser := shutil.which("chromium"):
            console.print(f"chromium drew every picture within {drawn_seconds(page, browser):.2f} s")
    if costs.median > LIMIT_SECONDS or size > LIMIT_BYTES:
        raise typer.Exit(ExitCode.FAILURE)


if __name__ == "__main__":
    typer.run(main)
