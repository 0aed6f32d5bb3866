"""What a run folder holds. ``docs/results.md`` explains the files and what a crash leaves of them.

Readers ignore keys they do not know, so a newer harness may add some; one that changes the meaning of a key
raises ``SCHEMA_VERSION``, and older readers refuse the run by name.
"""

from __future__ import annotations

from harness.results.schema.lines import (
    ParityLine,
    Passes,
    ReferenceLine,
    SampleLine,
)
from harness.results.schema.manifest import (
    SCHEMA_VERSION,
    SELF_TEST,
    GateFacts,
    Git,
    Manifest,
    OrderEntry,
    RunStatus,
    VariantFacts,
    WorkloadFacts,
    called,
    ending,
)
from harness.results.schema.pairs import (
    ItemRatio,
    PairingFacts,
    PairLine,
    RatioSummary,
)
from harness.results.schema.summary import (
    AccuracySummary,
    GeneratedAnswer,
    ItemLatency,
    LatencySummary,
    ParitySummary,
    RunVerdict,
    Summary,
    TokenRates,
    WideLayer,
    WorkloadSummary,
)

__all__ = [
    "SCHEMA_VERSION",
    "SELF_TEST",
    "AccuracySummary",
    "GateFacts",
    "GeneratedAnswer",
    "Git",
    "ItemLatency",
    "ItemRatio",
    "LatencySummary",
    "Manifest",
    "OrderEntry",
    "PairLine",
    "PairingFacts",
    "ParityLine",
    "ParitySummary",
    "Passes",
    "RatioSummary",
    "ReferenceLine",
    "RunStatus",
    "RunVerdict",
    "SampleLine",
    "Summary",
    "TokenRates",
    "VariantFacts",
    "WideLayer",
    "WorkloadFacts",
    "WorkloadSummary",
    "called",
    "ending",
]
