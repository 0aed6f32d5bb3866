"""What a run folder holds. ``docs/results.md`` explains the files and what a crash leaves of them.

Readers ignore keys they do not know, so a newer harness may add some; one that changes the meaning of a key
raises ``SCHEMA_VERSION``, and older readers refuse the run by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from harness.devices.base import Knob
from harness.models.ways import WAYS
from harness.models.workload import Workload
from harness.protocol.schema import Kind as Kind
from harness.protocol.schema import Record
from harness.results import v1
from harness.results.pair_schema import ItemRatio as ItemRatio
from harness.results.pair_schema import PairingFacts as PairingFacts
from harness.results.pair_schema import PairLine as PairLine
from harness.results.pair_schema import RatioSummary as RatioSummary
from harness.validate import EXACT, ItemParity, TolerancePolicy, Verdict
from harness.validate.comparison import Comparison

SELF_TEST = "self-test"
"""The kind of a device that is a user's app, which ran the items itself, and the mode of such a run."""
SCHEMA_VERSION = 2
"""Version 1 is read by :mod:`harness.results.v1`."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class RunStatus(str, Enum):
    COMPLETE = "complete"
    """Everything that was asked for ran to its end, whatever came out."""
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
    """The web address that the checkout came from, without credentials; older runs have none."""


class VariantFacts(_Stored):
    """One compiled variant and its runner."""

    archive_sha256: str
    archive_bytes: int
    runner_sha256: str
    runner_bytes: int
    target: str
    runner_version: str | None = None

    @property
    def has_runner(self) -> bool:
        """Whether a runner of ours ran it, and not a user's app."""
        return bool(self.runner_sha256)


class WorkloadFacts(_Stored):
    """A model of the run and the items that it runs on."""

    kind: Kind
    source: str
    """As ``--models`` named it."""
    label: str
    """What a person calls it, such as the checkpoint's name."""
    weights_sha256: str
    parameters: int | None = None
    items: int
    unit: str = "item"
    """What an item is, for a person, such as ``word``."""
    items_of: int | None = None
    """How many there were, where only a spread sample of them was run, as on an emulator; None: all."""
    items_source: str | None = None
    """``shipped``, or the name of the file that they came from; None where the model brings them."""
    items_sha256: str | None = None
    """Of the items and what they should give, so that two runs on the same ones can be recognized; None: not kept."""
    subsets: list[str] = []
    """The parts of the data that the items belong to, such as languages."""
    compare: str
    """How its answers are judged, for a person."""
    comparison: Comparison | None = None
    """The same of a tensor workload for a program; None in older runs."""

    @property
    def way(self) -> type[Workload[Any]]:
        """Return the class that answers what depends on the kind."""
        return WAYS[self.kind]


class OrderEntry(_Stored):
    """One work order sent to the device."""

    order_id: str
    purpose: Literal["smoke", "parity", "latency", "profile"]
    workload: str
    variant: str = ""
    """One of the manifest's variants; empty for a workload that is the same in all of them."""
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

    @property
    def name(self) -> str:
        """What it ran, for a person."""
        return called(self.workload, self.variant)


def called(workload: str, variant: str) -> str:
    """Return what is timed and compared under one name: the variant, or the workload that has none of its own."""
    return variant or workload


class GateFacts(_Stored):
    """The nightly run that measured the run's runner beside a baseline's."""

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
    policy: TolerancePolicy = EXACT
    workloads: dict[str, WorkloadFacts] = {}
    """By name, in the order in which they run."""
    variants: dict[str, VariantFacts] = {}
    """By name: ``cache`` and ``cacheless``."""
    reference: dict[str, Any] = {}
    """Threads and versions of the PyTorch reference."""
    orders: list[OrderEntry] = []
    pairing: dict[str, PairingFacts] = {}
    """By workload: how it was timed in turns with PyTorch."""
    gate: GateFacts | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.manifest(stored) if isinstance(stored, dict) else stored

    def of_kind(self, kind: Kind) -> dict[str, WorkloadFacts]:
        """Return the workloads of a kind, by name."""
        return {name: facts for name, facts in self.workloads.items() if facts.kind == kind}

    @property
    def alike(self) -> dict[str, WorkloadFacts]:
        """Return the workloads whose items are alike, as words are, by name."""
        return {name: facts for name, facts in self.workloads.items() if facts.way.alike}

    @property
    def unlike(self) -> dict[str, WorkloadFacts]:
        """Return the workloads whose items are unlike, by name."""
        return {name: facts for name, facts in self.workloads.items() if not facts.way.alike}

    @property
    def emulated(self) -> bool:
        """Whether the times are an emulator's, to be labelled and compared with nothing."""
        return bool(self.device.get("emulated"))

    @property
    def mode(self) -> str | None:
        """How the models were run, where there are several ways: ``shell`` or ``app`` on Android, ``self-test`` in a
        user's app; None for another kind of device.
        """
        if self.device.get("kind") == SELF_TEST:
            return SELF_TEST
        found = self.device.get("android_mode")
        # Before there were two modes, all ran in the shell.
        return str(found) if found else "shell" if "android" in str(self.device.get("kind")) else None


def ending(manifest: Manifest, errors: Sequence[Exception], interrupted: bool) -> tuple[RunStatus, str | None]:
    """How far a run got, and why no further; ``errors`` are those of its steps."""
    incomplete = [entry for entry in manifest.orders if not entry.complete]
    if interrupted:
        return RunStatus.INCOMPLETE, "interrupted"
    if errors:
        return RunStatus.FAILED, str(errors[0]).splitlines()[0]
    if incomplete:
        entry = incomplete[0]
        return RunStatus.INCOMPLETE, f"the {entry.purpose} order of {entry.name}: {entry.reason}"
    return RunStatus.COMPLETE, None


class SampleLine(_Stored):
    """A line of samples.jsonl: a raw record of the runner and the order it belongs to."""

    order: str
    record: Record


class ReferenceLine(_Stored):
    """A line of reference.jsonl: an item, what is right by other sources, and PyTorch's answer to it."""

    workload: str
    item: str
    label: str
    """What a person calls it, such as the word."""
    subset: str = ""
    """The part of the data that it belongs to, such as the word's language; empty where there are none."""
    pronunciations: list[str] = []
    """The gold ones of a word."""
    token_ids: list[int] = []
    text: str = ""
    margins: list[float] = []
    """PyTorch's generation: its tokens with the end token, and the top-2 logit margin of each step."""
    output_sha256: str | None = None
    """Of PyTorch's tensors, as the runner hashes its own."""
    latency_ns: list[int] = []
    """PyTorch's times in older runs, which timed the sides apart; now empty, see :class:`PairLine`."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.reference_line(stored) if isinstance(stored, dict) else stored


Passes = Literal["parity", "timed", "paired"]
"""What was compared: the answers of the parity order, of the timed passes, or of the turns with PyTorch."""


class ParityLine(ItemParity):
    """A line of parity.jsonl: one item's answer beside PyTorch's; see harness.validate."""

    workload: str
    variant: str = ""
    """As :class:`OrderEntry` has it."""
    passes: Passes = "parity"

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.parity_line(stored) if isinstance(stored, dict) else stored

    @property
    def comparison(self) -> str:
        """What it belongs to, for a person: ``cache``, or ``cache, timed``."""
        name = called(self.workload, self.variant)
        return name if self.passes == "parity" else f"{name}, {self.passes}"


class ParitySummary(_Stored):
    items: int
    by_verdict: dict[Verdict, int]
    by_subset: dict[str, dict[Verdict, int]]
    max_margin_error: float | None = None
    """Of a generation."""
    max_error: float | None = None
    relative_error: float | None = None
    """Of a tensor workload."""
    failures: list[str]
    """One line for each failing item."""

    @property
    def failed(self) -> int:
        return sum(count for verdict, count in self.by_verdict.items() if verdict.fails)

    @property
    def agreement(self) -> float | None:
        """The share of compared items with PyTorch's answer, declared ties included."""
        compared = self.items - self.missing
        return (compared - self.failed) / compared if compared else None

    @property
    def missing(self) -> int:
        return self.by_verdict.get(Verdict.MISSING, 0)


class AccuracySummary(_Stored):
    items: int
    per: float
    wer: float


class LatencySummary(_Stored):
    """Warm samples of one side, in nanoseconds; see harness.measure."""

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
    items_per_second: float
    ns_per_token: float


class ItemLatency(_Stored):
    """Warm samples of one item, in nanoseconds."""

    samples: int
    median: float
    mad: float
    min: float
    max: float


class WorkloadSummary(_Stored):
    """What one workload answered and took. Times in nanoseconds."""

    kind: Kind
    parity: dict[str, ParitySummary] = {}
    """By comparison."""
    accuracy: dict[str, dict[str, AccuracySummary]] = {}
    """``pytorch`` or the comparison, then the subset; the key ``all`` sums up all items. Empty without gold answers."""
    variant: str = ""
    """The one that was timed; empty where there is none of its own, and where nothing was timed."""
    warm: LatencySummary | None = None
    """Over all items, where they are alike enough for one distribution, as words are."""
    parts: dict[str, float] = {}
    """Medians per item of a generation: ``encoder``, ``prefill``, ``step`` (all of them), ``other``."""
    by_item: dict[str, ItemLatency] = {}
    """Each item that was timed, where they are unlike and are never pooled."""
    cold_load: int | None = None
    """Taking its functions from the library and initialising their VMs."""
    first: int | None = None
    """The first call of the process."""
    peak_bytes: int | None = None
    pytorch: LatencySummary | None = None
    """Of the items that were timed in turns, which are fewer than those of ``warm``: ``ratio`` compares them."""
    ratio: RatioSummary | None = None

    @property
    def way(self) -> type[Workload[Any]]:
        """Return the class that answers what depends on the kind."""
        return WAYS[self.kind]

    @property
    def timed(self) -> bool:
        return self.warm is not None or bool(self.by_item)

    @property
    def failed(self) -> int:
        return sum(found.failed for found in self.parity.values())

    @property
    def missing(self) -> int:
        return sum(found.missing for found in self.parity.values())

    @property
    def compared(self) -> int:
        """Comparisons, of which an item may have several."""
        return sum(found.items for found in self.parity.values())

    def count(self, verdict: Verdict) -> int:
        """Return how many comparisons ended like that."""
        return sum(found.by_verdict.get(verdict, 0) for found in self.parity.values())


class Summary(_Stored):
    schema_version: int = SCHEMA_VERSION
    verdict: RunVerdict
    reasons: list[str]
    """Why it is not a pass; empty for a pass."""
    workloads: dict[str, WorkloadSummary] = {}
    """By name, in the manifest's order; one that nothing is known of has a summary, too."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.summary(stored) if isinstance(stored, dict) else stored

    @property
    def alike(self) -> dict[str, WorkloadSummary]:
        """Return the workloads whose items are alike, as words are, by name."""
        return {name: found for name, found in self.workloads.items() if found.way.alike}

    @property
    def unlike(self) -> dict[str, WorkloadSummary]:
        """Return the workloads whose items are unlike, by name."""
        return {name: found for name, found in self.workloads.items() if not found.way.alike}
