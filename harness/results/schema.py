"""What a run folder holds. ``docs/results.md`` explains the files and what a crash leaves of them.

Readers ignore keys they do not know, so a newer harness may add some; one that changes the meaning of a key
raises ``SCHEMA_VERSION``, and older readers refuse the run by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.devices.base import Knob
from harness.models.words import Word
from harness.protocol.schema import Record
from harness.results.pair_schema import ItemRatio as ItemRatio
from harness.results.pair_schema import PairingFacts as PairingFacts
from harness.results.pair_schema import PairLine as PairLine
from harness.results.pair_schema import RatioSummary as RatioSummary
from harness.validate import EXACT, Allowance, Verdict
from harness.validate.comparison import Comparison

SCHEMA_VERSION = 1


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class RunStatus(str, Enum):
    COMPLETE = "complete"
    """Everything that was asked for ran to its end, whatever it said."""
    INCOMPLETE = "incomplete"
    """A runner crashed or hung, the run was interrupted or killed, or it still goes on."""
    FAILED = "failed"
    """An error ended the run, such as an archive that did not compile."""


class RunVerdict(str, Enum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Git(_Stored):
    commit: str
    dirty: bool
    repository: str | None = None
    """The web address that the checkout came from, without credentials; runs of before it was kept have none."""


class CheckpointFacts(_Stored):
    label: str
    sha256: str


class WordsFacts(_Stored):
    count: int
    of: int | None = None
    """How many words there were, where only a spread sample of them was run, as on an emulator; None: all."""
    languages: list[str]
    sha256: str
    """Of the words and their pronunciations, so that two runs on the same words can be told."""
    source: str


def words_facts(words: Sequence[Word], source: str, *, of: int | None = None) -> WordsFacts | None:
    """Of a run's words; None without any. ``of``: how many they were chosen from."""
    if not words:
        return None
    digest = hashlib.sha256()
    for word in words:
        digest.update("\t".join([word.language, word.word, *word.pronunciations]).encode() + b"\n")
    languages = sorted({word.language for word in words})
    sampled = of if of is not None and of > len(words) else None
    return WordsFacts(count=len(words), of=sampled, languages=languages, sha256=digest.hexdigest(), source=source)


class VariantFacts(_Stored):
    """One compiled variant and its runner."""

    archive_sha256: str
    archive_bytes: int
    runner_sha256: str
    runner_bytes: int
    target: str
    runner_version: str | None = None


class ModelFacts(_Stored):
    """A model of tensors in the run's binary."""

    source: str
    """As ``--models`` named it."""
    prefix: str
    parameters: int
    weights_sha256: str
    items: int
    compare: str
    """How its answers are judged, for a person."""
    comparison: Comparison | None = None
    """The same for a program; None in runs of before it was kept."""


class OrderEntry(_Stored):
    """One work order sent to the device."""

    order_id: str
    purpose: Literal["smoke", "parity", "latency", "profile"]
    variant: str
    """G2P's variant, or the name of a model of tensors."""
    started: str
    ended: str | None = None
    complete: bool = False
    reason: str | None = None
    wall_seconds: float | None = None
    resumed: int = 0
    """How often it went on after the device had been lost and came back."""
    conditions_before: dict[str, Any] = {}
    conditions_after: dict[str, Any] = {}
    knobs: list[Knob] = []
    """The device's settings for the time of the order, and what became of them."""
    observed: dict[str, Any] = {}
    """What was seen of the device while the order ran."""


class GateFacts(_Stored):
    """The night that measured the run's runner beside a baseline's."""

    night_id: str
    baseline: str
    verdict: str
    causes: list[str] = []
    """One line for each cell or limit that did not pass."""


class Manifest(_Stored):
    schema_version: int = SCHEMA_VERSION
    run_id: str
    status: RunStatus = RunStatus.INCOMPLETE
    reason: str | None = "the run has not ended"
    started: str
    """ISO 8601, UTC."""
    ended: str | None = None
    git: Git | None = None
    versions: dict[str, str] = {}
    command: list[str] = []
    options: dict[str, Any] = {}
    device: dict[str, Any] = {}
    allowance: Allowance = EXACT
    checkpoint: CheckpointFacts | None = None
    words: WordsFacts | None = None
    variants: dict[str, VariantFacts] = {}
    """By name: ``cache`` and ``cacheless``."""
    models: dict[str, ModelFacts] = {}
    """Models of tensors, by name."""
    reference: dict[str, Any] = {}
    """Threads and versions of the PyTorch reference."""
    orders: list[OrderEntry] = []
    pairing: dict[str, PairingFacts] = {}
    """By model, ``g2p`` or its name: how it was timed in turns with PyTorch."""
    gate: GateFacts | None = None

    @property
    def emulated(self) -> bool:
        """Whether the times are an emulator's, to be labelled and compared with nothing."""
        return bool(self.device.get("emulated"))


def ending(manifest: Manifest, errors: Sequence[Exception], interrupted: bool) -> tuple[RunStatus, str | None]:
    """How far a run got, and why no further; ``errors`` are those of its steps."""
    incomplete = [entry for entry in manifest.orders if not entry.complete]
    if interrupted:
        return RunStatus.INCOMPLETE, "interrupted"
    if errors:
        return RunStatus.FAILED, str(errors[0]).splitlines()[0]
    if incomplete:
        entry = incomplete[0]
        return RunStatus.INCOMPLETE, f"the {entry.purpose} order of {entry.variant}: {entry.reason}"
    return RunStatus.COMPLETE, None


class SampleLine(_Stored):
    """A line of samples.jsonl: a raw record of the runner and the order it belongs to."""

    order: str
    record: Record


class ReferenceLine(_Stored):
    """A line of reference.jsonl: a word, its gold pronunciations, and what PyTorch said."""

    item: str
    language: str
    word: str
    pronunciations: list[str]
    token_ids: list[int]
    text: str
    margins: list[float]
    latency_ns: list[int] = []
    """PyTorch's times in runs of before both sides were timed in turns; since then empty, see :class:`PairLine`."""


class ParityLine(_Stored):
    """A line of parity.jsonl; see harness.validate.WordParity."""

    comparison: str
    """The variant, with ``, timed`` behind it for what the latency run said."""
    item: str
    language: str
    word: str
    verdict: Verdict
    expected: str
    got: str | None
    step: int | None = None
    expected_token: int | None = None
    got_token: int | None = None
    expected_margin: float | None = None
    got_margin: float | None = None
    margin_error: float | None = None
    detail: str | None = None


class ModelReferenceLine(_Stored):
    """A line of model_reference.jsonl: an item of a model of tensors, and PyTorch's answer to it."""

    model: str
    item: str
    output_sha256: str
    """Of PyTorch's outputs, as the runner hashes its own."""
    latency_ns: list[int] = []
    """PyTorch's times in runs of before both sides were timed in turns; since then empty."""


class ModelParityLine(_Stored):
    """A line of model_parity.jsonl; see harness.validate.tensors.ItemParity."""

    comparison: str
    """The model, with ``, timed`` behind it for what the latency run said."""
    model: str
    item: str
    verdict: Verdict
    detail: str = ""
    max_error: float | None = None
    relative_error: float | None = None


class ParitySummary(_Stored):
    words: int
    by_verdict: dict[Verdict, int]
    by_language: dict[str, dict[Verdict, int]]
    max_margin_error: float | None
    failures: list[str]
    """One line for each failing word."""

    @property
    def failed(self) -> int:
        return sum(count for verdict, count in self.by_verdict.items() if verdict.fails)

    @property
    def agreement(self) -> float | None:
        """The share of compared words with PyTorch's tokens, declared ties included."""
        compared = self.words - self.missing
        return (compared - self.failed) / compared if compared else None

    @property
    def missing(self) -> int:
        return self.by_verdict.get(Verdict.MISSING, 0)


class AccuracySummary(_Stored):
    words: int
    per: float
    wer: float


class LatencySummary(_Stored):
    """Warm samples of one side, in nanoseconds; see harness.measure."""

    words: int
    samples: int
    median: float
    median_low: float | None
    median_high: float | None
    p90: float
    p95: float
    p99: float
    mad: float
    min: float
    max: float
    mean: float
    words_per_second: float
    ns_per_token: float


class ArtifactLatency(_Stored):
    variant: str
    warm: LatencySummary
    cold_load: int
    """Taking all functions from the library and initialising their VMs, in nanoseconds."""
    first: int | None
    """The first inference of the process."""
    encoder: float
    prefill: float | None
    steps: float
    other: float
    """Medians per word, in nanoseconds."""
    peak_bytes: int | None


class ItemLatency(_Stored):
    """Warm samples of one item, in nanoseconds."""

    samples: int
    median: float
    mad: float
    min: float
    max: float


class ModelLatency(_Stored):
    """Warm samples of all of a model's items, pooled: only in runs of before, and shown nowhere."""

    items: int
    samples: int
    median: float
    median_low: float | None
    median_high: float | None
    p90: float
    p95: float
    p99: float
    mad: float
    min: float
    max: float
    mean: float


class ModelSummary(_Stored):
    """One model of tensors."""

    items: int
    by_verdict: dict[Verdict, int]
    failures: list[str]
    """One line for each failing item."""
    max_error: float | None
    relative_error: float | None
    by_item: dict[str, ItemLatency] = {}
    """The warm samples of each item that was timed; unlike items are never pooled."""
    artifact: ModelLatency | None = None
    """Of runs of before alone."""
    cold_load: int | None = None
    """Taking the model from the library and initialising its VM, in nanoseconds."""
    first: int | None = None
    peak_bytes: int | None = None
    pytorch: ModelLatency | None = None
    """Of runs of before alone."""
    ratio: RatioSummary | None = None
    """Its ``by_item`` has PyTorch's times."""

    @property
    def failed(self) -> int:
        return sum(count for verdict, count in self.by_verdict.items() if verdict.fails)

    @property
    def missing(self) -> int:
        return self.by_verdict.get(Verdict.MISSING, 0)


class Summary(_Stored):
    schema_version: int = SCHEMA_VERSION
    verdict: RunVerdict
    reasons: list[str]
    """Why it is not a pass; empty for a pass."""
    parity: dict[str, ParitySummary]
    """By comparison."""
    accuracy: dict[str, dict[str, AccuracySummary]]
    """``pytorch`` or the comparison, then the language; the key ``all`` sums up all words."""
    artifact: ArtifactLatency | None
    pytorch: LatencySummary | None
    """Of the words that were timed in turns, which are fewer than the artifact's: ``ratio`` compares them."""
    ratio: RatioSummary | None
    models: dict[str, ModelSummary] = {}
    """Models of tensors, by name."""
