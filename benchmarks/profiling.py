"""Measure what profiling costs: the same words on the plain and on the instrumented runner, in turn, a process a pass.

    python benchmarks/profiling.py                                # the embedded model, every precision
    python benchmarks/profiling.py --precision fp32 --rounds 20

Of each word the fastest sample counts on either side, since what disturbs can only make one slower; the ratio is the
median over words with its bootstrap interval, as ``pytest --profile`` gives it. The medians' ratio stands beside it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.peers import timed_words
from benchmarks.tables import terminal
from harness.compiler import CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import HarnessError, UsageError
from harness.devices import HostDevice
from harness.measure import paired_ratio
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.items import word_item
from harness.models.g2p.workload import g2p_compilable
from harness.native import Runner, build_runner
from harness.profiling.summary import overhead
from harness.protocol.schema import PRECISIONS as KNOWN
from harness.protocol.schema import Phase, Precision, Sample, WorkOrder


def main(
    checkpoint: Annotated[str, typer.Option(help="embedded, random:tiny-8, or a folder")] = "embedded",
    precision: Annotated[str, typer.Option(help="comma-separated")] = ",".join(KNOWN),
    words: Annotated[int, typer.Option(min=1, help="how many of the shipped words")] = 65,
    rounds: Annotated[int, typer.Option(min=1, help="passes on either side")] = 10,
) -> None:
    """Measure what profiling costs."""
    console = terminal()
    cache = Cache(notice=console.print)
    table = Table(title="what profiling costs, of a word's time")
    for column in ("precision", "plain ms", "instrumented ms", "cost", "95 % interval", "of medians"):
        table.add_column(column, justify="left" if column == "precision" else "right")
    try:
        for name in precision.split(","):
            request = CompileRequest(
                [g2p_compilable(resolve_checkpoint(checkpoint, cache=cache))], precision=_known(name)
            )
            runners = [_runner(request, profile, cache, console.print) for profile in (False, True)]
            table.add_row(name, *_measured(runners, words, rounds))
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    console.print(table)


def _known(name: str) -> Precision:
    for known in KNOWN:
        if known == name:
            return known
    raise UsageError(f"unknown precision {name!r}", cure=f"known are {', '.join(KNOWN)}")


def _runner(request: CompileRequest, profile: bool, cache: Cache, progress: Callable[[str], None]) -> Runner:
    archive = compile_models(replace(request, profile=profile), cache=cache, progress=progress)
    return build_runner(archive, cache=cache, progress=progress)


def _measured(runners: list[Runner], words: int, rounds: int) -> list[str]:
    items = [word_item(str(at), word.language, word.word) for at, word in enumerate(timed_words(words))]
    times: list[dict[str, list[int]]] = [defaultdict(list), defaultdict(list)]
    device = HostDevice()
    with device.reserve():
        for number in range(rounds):
            sides = (0, 1) if number % 2 == 0 else (1, 0)
            for side in sides:
                order = WorkOrder(
                    order_id=f"{number}-{side}",
                    archive_sha256=runners[side].archive.sha256,
                    workloads=[runners[side].archive.metadata.generation()],
                    items=items,
                )
                result = device.run(runners[side].path, order).require_complete()
                for record in result.records:
                    if isinstance(record, Sample) and record.phase is Phase.TIMED:
                        times[side][record.items[0]].append(record.total_ns)
    found = overhead(*times)
    assert found is not None
    low, high = found.low or found.ratio, found.high or found.ratio
    return [
        f"{found.plain_ns / 1e6:.3f}",
        f"{found.profiled_ns / 1e6:.3f}",
        f"{found.ratio - 1:+.1%}",
        f"[{low - 1:+.1%}, {high - 1:+.1%}]",
        f"{paired_ratio(*times).ratio - 1:+.1%}",
    ]


if __name__ == "__main__":
    typer.run(main)
