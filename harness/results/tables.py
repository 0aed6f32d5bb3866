"""Make rows from a run folder: tables of ``harness query`` and ``harness export``. Nightly runs have other tables.

``docs/history.md`` explains every column. Times are nanoseconds, sizes bytes, moments UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.results.errors import RunDamaged
from harness.results.schema import Manifest, WorkloadSummary
from harness.results.schema import profile as profile_files
from harness.results.store import MANIFEST, SUMMARY, Run, Store

Row = dict[str, Any]
RUN = "run"
DAMAGED = "damaged"
"""The status of a run whose manifest cannot be read."""


@dataclass(frozen=True)
class Table:
    """Describe a table. ``columns`` are DuckDB's names and types, the folder's first; rows come from ``files``."""

    name: str
    columns: dict[str, str]
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the column that names the folder: ``run`` or ``night``."""
        return next(iter(self.columns))

    def folders(self, store: Store) -> list[Path]:
        """Return all folders that have rows, the oldest first."""
        if self.key == RUN:
            return [run.folder for run in store.runs()]
        from harness.results.nightly import nightly_folders

        return nightly_folders(store.root)


@dataclass(frozen=True)
class FolderTable(Table):
    """Describe a table with few rows a folder; ``rows`` makes them from the folder."""

    rows: Callable[[Path], Iterator[Row]]


@dataclass(frozen=True)
class LineTable(Table):
    """Describe a table with many rows a run, one for each line.
    ``source`` is the lines' type, ``select`` contains each column's expression over it, and ``where`` is the condition
    for a row. Unreadable parts of a line are NULL.
    """

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
    "precision": "VARCHAR",
    "threads": "BIGINT",
    "options": "JSON",
    "versions": "JSON",
}
_WORKLOAD_COLUMNS = {
    "run": "VARCHAR",
    "workload": "VARCHAR",
    "kind": "VARCHAR",
    "label": "VARCHAR",
    "weights_sha256": "VARCHAR",
    "items": "BIGINT",
    "items_sha256": "VARCHAR",
    "compared": "BIGINT",
    "failed": "BIGINT",
    "per": "DOUBLE",
    "wer": "DOUBLE",
    "steps_compared": "BIGINT",
    "steps_agreed": "BIGINT",
    "perplexity": "DOUBLE",
    "pytorch_perplexity": "DOUBLE",
    "kl": "DOUBLE",
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
    "items_per_second": "DOUBLE",
    "ns_per_token": "DOUBLE",
    "peak_bytes": "BIGINT",
    "pytorch_median_ns": "DOUBLE",
    "of_pytorch": "DOUBLE",
    "of_pytorch_low": "DOUBLE",
    "of_pytorch_high": "DOUBLE",
    "of_pytorch_in_turns": "BOOLEAN",
    "of_pytorch_items": "BIGINT",
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
    yield row


def _workloads(folder: Path) -> Iterator[Row]:
    run = Run(folder)
    manifest = _readable(run)
    try:
        summary = run.summary()
    except RunDamaged:
        summary = None
    for name, facts in manifest.workloads.items() if manifest else ():
        row: Row = {
            "run": run.run_id,
            "workload": name,
            "kind": facts.kind,
            "label": facts.label,
            "weights_sha256": facts.weights_sha256,
            "items": facts.items,
            "items_sha256": facts.items_sha256,
        }
        found = summary.workloads.get(name) if summary else None
        yield row | (_figures(found) if found else {})


def _figures(found: WorkloadSummary) -> Row:
    row: Row = {
        "compared": found.compared,
        "failed": found.failed,
        "variant": found.variant or None,
        "cold_load_ns": found.cold_load,
        "first_ns": found.first,
        "peak_bytes": found.peak_bytes,
        **{f"{column}_ns": found.parts.get(part) for column, part in _PARTS.items()},
    }
    if warm := found.warm:
        row |= {
            "samples": warm.samples,
            "median_ns": warm.median,
            "median_low_ns": warm.median_low,
            "median_high_ns": warm.median_high,
            "p90_ns": warm.p90,
            "p95_ns": warm.p95,
            "p99_ns": warm.p99,
            "items_per_second": warm.items_per_second,
            "ns_per_token": warm.ns_per_token,
        }
    elif len(found.by_item) == 1:
        (only,) = found.by_item.values()
        row |= {"samples": only.samples, "median_ns": only.median}
    if accuracy := found.accuracy.get(found.variant, {}).get("all"):
        row |= {"per": accuracy.per, "wer": accuracy.wer}
    if fed := next((one for one in found.parity.values() if one.tokens), None):
        row |= {
            "steps_compared": fed.tokens,
            "steps_agreed": fed.tokens_equal,
            "perplexity": fed.perplexity,
            "pytorch_perplexity": fed.expected_perplexity,
            "kl": fed.kl,
        }
    if found.pytorch:
        row["pytorch_median_ns"] = found.pytorch.median
    if ratio := found.ratio:
        row |= {
            "of_pytorch": ratio.ratio if ratio.conclusive else None,
            "of_pytorch_low": ratio.low,
            "of_pytorch_high": ratio.high,
            "of_pytorch_in_turns": ratio.paired,
            "of_pytorch_items": ratio.items,
        }
    return row


_PARTS = {"encoder": "encoder", "prefill": "prefill", "steps": "step"}


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


def _profiles(folder: Path) -> Iterator[Row]:
    run = Run(folder)
    try:
        profiles = run.profiles()
    except RunDamaged:
        return
    for profile in profiles:
        for site in profile.sites:
            yield {
                "run": run.run_id,
                **{key: getattr(profile, key) for key in ("workload", "variant", "precision", "samples")},
                **site.model_dump(mode="json", include=set(_SITE)),
                "place": site.index,
            }


_SITE = {
    "function": "VARCHAR",
    "kernel": "VARCHAR",
    "operators": "VARCHAR[]",
    "module": "VARCHAR",
    "calls": "BIGINT",
    "total_ns": "BIGINT",
    "median_ns": "DOUBLE",
    "min_ns": "BIGINT",
    "bytes": "BIGINT",
    "flops": "BIGINT",
}


def _readable(run: Run) -> Manifest | None:
    try:
        return run.manifest()
    except RunDamaged:
        return None


def utc(moment: str | None) -> str | None:
    """Return a moment in UTC in DuckDB's form without a zone; None if the text is no moment."""
    try:
        found = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
    except ValueError:
        return None
    return found.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ") if found else None


RUNS = FolderTable("runs", _RUN_COLUMNS, (MANIFEST, SUMMARY), _runs)
WORKLOADS = FolderTable("workloads", _WORKLOAD_COLUMNS, (MANIFEST, SUMMARY), _workloads)
ORDERS = FolderTable(
    "orders",
    {
        "run": "VARCHAR",
        "order_id": "VARCHAR",
        "purpose": "VARCHAR",
        "workload": "VARCHAR",
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
PROFILES = FolderTable(
    "profiles",
    {
        "run": "VARCHAR",
        "workload": "VARCHAR",
        "variant": "VARCHAR",
        "precision": "VARCHAR",
        "samples": "BIGINT",
        "place": "BIGINT",
        **_SITE,
    },
    (profile_files.SUMMARY,),
    _profiles,
)

FOLDER_TABLES = (RUNS, WORKLOADS, ORDERS, VARIANTS, PROFILES)
