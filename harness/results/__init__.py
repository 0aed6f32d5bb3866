"""Keep finished runs permanently: see ``docs/results.md``.

Listing runs should not wait for the statistics libraries. So :mod:`harness.results.summarize`, which makes summaries,
is not imported here.
"""

from __future__ import annotations

from harness.results.errors import RunDamaged, RunNotFound, StorageFull, StorageUnwritable
from harness.results.schema import (
    Git,
    Manifest,
    OrderEntry,
    PairingFacts,
    PairLine,
    ParityLine,
    ReferenceLine,
    RunStatus,
    RunVerdict,
    SampleLine,
    Summary,
    VariantFacts,
    WorkloadFacts,
    WorkloadSummary,
    called,
    ending,
)
from harness.results.store import Run, RunWriter, Store, now

__all__ = [
    "Git",
    "Manifest",
    "OrderEntry",
    "PairLine",
    "PairingFacts",
    "ParityLine",
    "ReferenceLine",
    "Run",
    "RunDamaged",
    "RunNotFound",
    "RunStatus",
    "RunVerdict",
    "RunWriter",
    "SampleLine",
    "StorageFull",
    "StorageUnwritable",
    "Store",
    "Summary",
    "VariantFacts",
    "WorkloadFacts",
    "WorkloadSummary",
    "called",
    "ending",
    "now",
]
