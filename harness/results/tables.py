"""What of a run folder becomes rows: tables of ``harness query`` and ``harness export``; nights have others.

``docs/history.md`` explains every column. Times are nanoseconds, sizes bytes, moments UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.results.errors import RunDamaged
from harness.results.schema import AccuracySummary, Manifest, Summary
from harness.results.store import MANIFEST, PAIRS, PARITY, REFERENCE, SAMPLES, SUMMARY, Run, Store

Row = dict[str, Any]
RUN = "run"
DAMAGED = "damaged"
"""The status of a run whose manifest cannot be read."""


@dataclass(frozen=True)
class Table:
    """``columns`` are DuckDB's names and types, the folder's first; ``files`` what the rows are made of."""

    name: str
    columns: dict[str, str]
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """The column that names the folder: ``run`` or ``night``."""
        return next(iter(self.columns))

    def folders(self, store: Store) -> list[Path]:
        """All that have rows, the oldest first."""
        if self.key == RUN:
            return [run.folder for run in store.runs()]
        from harness.results.nights import night_folders

        return night_folders(store.root)


@dataclass(frozen=True)
class FolderTable(Table):
    """Few rows a folder, made by ``rows`` from it."""

    rows: Callable[[Path], Iterator[Row]]


@dataclass(frozen=True)
class LineTable(Table):
    """Many rows a run, a line each: ``source`` is the lines' type, ``select`` a column's expression over it, and
    ``where`` what a line has to be; what cannot be read of a line is NULL there."""

    source: dict[str, str]
    select: dict[str, str]
    where: str


_RUN_COLUMNS = {
    "run": "VARCHAR",
    "status": "VARCHAR",
    "verdict": "VARCHAR",
    "reason": "VARCHAR",
    "started": "TIMESTAMP",
    "ended": "TIMESTAMP",
    "commit": "VARCHAR",
    "dirty": "BOOLEAN",
    "device_kind": "VARCHAR",
    "device": "VARCHAR",
    "cpu_model": "VARCHAR",
    "emulated": "BOOLEAN",
    "checkpoint": "VARCHAR",
    "checkpoint_sha256": "VARCHAR",
    "words": "BIGINT",
    "words_sha256": "VARCHAR",
    "precision": "VARCHAR",
    "threads": "BIGINT",
    "variant": "VARCHAR",
    "samples": "BIGINT",
    "median_ns": "DOUBLE",
    "median_low_ns": "DOUBLE",
    "median_high_ns": "DOUBLE",
    "p90_ns": "DOUBLE",
    "p95_ns": "DOUBLE",
    "p99_ns": "DOUBLE",
    "cold_load_ns": "BIGINT",
    "first_ns": "BIGINT",
    "encoder_ns": "DOUBLE",
    "prefill_ns": "DOUBLE",
    "steps_ns": "DOUBLE",
    "words_per_second": "DOUBLE",
    "ns_per_token": "DOUBLE",
    "peak_bytes": "BIGINT",
    "pytorch_median_ns": "DOUBLE",
    "of_pytorch": "DOUBLE",
    "of_pytorch_low": "DOUBLE",
    "of_pytorch_high": "DOUBLE",
    "of_pytorch_in_turns": "BOOLEAN",
    "of_pytorch_words": "BIGINT",
    "failed_words": "BIGINT",
    "per": "DOUBLE",
    "wer": "DOUBLE",
    "options": "JSON",
    "versions": "JSON",
}


def _runs(folder: Path) -> Iterator[Row]:
    run = Run(folder)
    try:
        manifest, summary = run.manifest(), run.summary()
    except RunDamaged as error:
        yield {"run": run.run_id, "status": DAMAGED, "reason": str(error).splitlines()[0]}
        return
    row: Row = {
        "run": run.run_id,
        "status": manifest.status.value,
        "verdict": summary.verdict.value if summary else None,
        "reason": manifest.reason,
        "started": utc(manifest.started),
        "ended": utc(manifest.ended),
        "device_kind": manifest.device.get("kind"),
        "device": manifest.device.get("name"),
        "cpu_model": manifest.device.get("cpu_model"),
        "emulated": manifest.emulated,
        "precision": manifest.options.get("precision"),
        "threads": manifest.options.get("threads"),
        "options": manifest.options,
        "versions": manifest.versions,
    }
    if manifest.git:
        row |= {"commit": manifest.git.commit, "dirty": manifest.git.dirty}
    if manifest.checkpoint:
        row |= {"checkpoint": manifest.checkpoint.label, "checkpoint_sha256": manifest.checkpoint.sha256}
    if manifest.words:
        row |= {"words": manifest.words.count, "words_sha256": manifest.words.sha256}
    yield row | (_figures(summary) if summary else {})


def _figures(summary: Summary) -> Row:
    row: Row = {"failed_words": sum(parity.failed for parity in summary.parity.values())}
    if artifact := summary.artifact:
        warm = artifact.warm
        row |= {
            "variant": artifact.variant,
            "samples": warm.samples,
            "median_ns": warm.median,
            "median_low_ns": warm.median_low,
            "median_high_ns": warm.median_high,
            "p90_ns": warm.p90,
            "p95_ns": warm.p95,
            "p99_ns": warm.p99,
            "cold_load_ns": artifact.cold_load,
            "first_ns": artifact.first,
            "encoder_ns": artifact.encoder,
            "prefill_ns": artifact.prefill,
            "steps_ns": artifact.steps,
            "words_per_second": warm.words_per_second,
            "ns_per_token": warm.ns_per_token,
            "peak_bytes": artifact.peak_bytes,
        }
        if said := _overall(summary, artifact.variant):
            row |= {"per": said.per, "wer": said.wer}
    if summary.pytorch:
        row["pytorch_median_ns"] = summary.pytorch.median
    if ratio := summary.ratio:
        row |= {
            "of_pytorch": ratio.ratio if ratio.conclusive else None,
            "of_pytorch_low": ratio.low,
            "of_pytorch_high": ratio.high,
            "of_pytorch_in_turns": ratio.paired,
            "of_pytorch_words": ratio.words,
        }
    return row


def _overall(summary: Summary, variant: str) -> AccuracySummary | None:
    return summary.accuracy.get(variant, {}).get("all")


def _orders(folder: Path) -> Iterator[Row]:
    run = Run(folder)
    manifest = _readable(run)
    for order in manifest.orders if manifest else ():
        yield {
            "run": run.run_id,
            **order.model_dump(mode="json", exclude={"started", "ended"}),
            "started": utc(order.started),
            "ended": utc(order.ended),
        }


def _variants(folder: Path) -> Iterator[Row]:
    run = Run(folder)
    manifest = _readable(run)
    for name, facts in manifest.variants.items() if manifest else ():
        yield {"run": run.run_id, "variant": name, **facts.model_dump(mode="json")}


def _readable(run: Run) -> Manifest | None:
    try:
        return run.manifest()
    except RunDamaged:
        return None


def utc(moment: str | None) -> str | None:
    """As DuckDB reads a moment without a zone; None for what is no moment."""
    try:
        found = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
    except ValueError:
        return None
    return found.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ") if found else None


RUNS = FolderTable("runs", _RUN_COLUMNS, (MANIFEST, SUMMARY), _runs)
ORDERS = FolderTable(
    "orders",
    {
        "run": "VARCHAR",
        "order_id": "VARCHAR",
        "purpose": "VARCHAR",
        "variant": "VARCHAR",
        "started": "TIMESTAMP",
        "ended": "TIMESTAMP",
        "complete": "BOOLEAN",
        "reason": "VARCHAR",
        "wall_seconds": "DOUBLE",
        "resumed": "BIGINT",
        "conditions_before": "JSON",
        "conditions_after": "JSON",
        "knobs": "JSON",
        "observed": "JSON",
    },
    (MANIFEST,),
    _orders,
)
VARIANTS = FolderTable(
    "variants",
    {
        "run": "VARCHAR",
        "variant": "VARCHAR",
        "target": "VARCHAR",
        "archive_sha256": "VARCHAR",
        "archive_bytes": "BIGINT",
        "runner_sha256": "VARCHAR",
        "runner_bytes": "BIGINT",
        "runner_version": "VARCHAR",
    },
    (MANIFEST,),
    _variants,
)
SAMPLE_LINES = LineTable(
    "samples",
    {
        "run": "VARCHAR",
        "order_id": "VARCHAR",
        "model": "VARCHAR",
        "item": "VARCHAR",
        "phase": "VARCHAR",
        "repetition": "BIGINT",
        "total_ns": "BIGINT",
        "encoder_ns": "BIGINT",
        "prefill_ns": "BIGINT",
        "steps_ns": "BIGINT",
        "steps": "BIGINT",
        "tokens": "BIGINT",
        "text": "VARCHAR",
    },
    (SAMPLES,),
    source={
        "order": "VARCHAR",
        "record": (
            "STRUCT(record VARCHAR, model VARCHAR, items VARCHAR[], phase VARCHAR, repetition BIGINT, total_ns BIGINT, "
            "encoder_ns BIGINT, prefill_ns BIGINT, step_ns BIGINT[], "
            "outputs STRUCT(token_ids INTEGER[], text VARCHAR)[])"
        ),
    },
    select={
        "order_id": '"order"',
        "model": "record.model",
        "item": "array_to_string(record.items, ' ')",
        "phase": "record.phase",
        "repetition": "record.repetition",
        "total_ns": "record.total_ns",
        "encoder_ns": "record.encoder_ns",
        "prefill_ns": "record.prefill_ns",
        "steps_ns": "list_sum(record.step_ns)",
        "steps": "len(record.step_ns)",
        "tokens": "list_sum(list_transform(record.outputs, lambda output: len(output.token_ids)))",
        "text": "array_to_string(list_transform(record.outputs, lambda output: output.text), ' ')",
    },
    where="record.record = 'sample' AND record.total_ns IS NOT NULL AND \"order\" IS NOT NULL",
)
_PARITY_COLUMNS = {
    "comparison": "VARCHAR",
    "item": "VARCHAR",
    "language": "VARCHAR",
    "word": "VARCHAR",
    "verdict": "VARCHAR",
    "expected": "VARCHAR",
    "got": "VARCHAR",
    "step": "BIGINT",
    "expected_token": "BIGINT",
    "got_token": "BIGINT",
    "expected_margin": "DOUBLE",
    "got_margin": "DOUBLE",
    "margin_error": "DOUBLE",
}
PARITY_LINES = LineTable(
    "parity",
    {"run": "VARCHAR", **_PARITY_COLUMNS},
    (PARITY,),
    source=_PARITY_COLUMNS,
    select={name: name for name in _PARITY_COLUMNS},
    where="comparison IS NOT NULL AND item IS NOT NULL AND verdict IS NOT NULL",
)
_REFERENCE_COLUMNS = {
    "item": "VARCHAR",
    "language": "VARCHAR",
    "word": "VARCHAR",
    "pronunciations": "VARCHAR[]",
    "token_ids": "INTEGER[]",
    "text": "VARCHAR",
    "margins": "DOUBLE[]",
    "latency_ns": "BIGINT[]",
}
REFERENCE_LINES = LineTable(
    "reference",
    {"run": "VARCHAR", **_REFERENCE_COLUMNS},
    (REFERENCE,),
    source=_REFERENCE_COLUMNS,
    select={name: name for name in _REFERENCE_COLUMNS},
    where="item IS NOT NULL AND word IS NOT NULL AND token_ids IS NOT NULL",
)

_PAIR_COLUMNS = {
    "model": "VARCHAR",
    "item": "VARCHAR",
    "round": "BIGINT",
    "first": "VARCHAR",
    "artifact_ns": "BIGINT[]",
    "pytorch_ns": "BIGINT[]",
}
PAIR_LINES = LineTable(
    "pairs",
    {"run": "VARCHAR", **_PAIR_COLUMNS},
    (PAIRS,),
    source=_PAIR_COLUMNS,
    select={name: f'"{name}"' for name in _PAIR_COLUMNS},
    where="model IS NOT NULL AND item IS NOT NULL AND artifact_ns IS NOT NULL AND pytorch_ns IS NOT NULL",
)

RUN_TABLES: tuple[Table, ...] = (RUNS, ORDERS, VARIANTS, SAMPLE_LINES, PARITY_LINES, REFERENCE_LINES, PAIR_LINES)
