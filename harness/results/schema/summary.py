"""``summary.json``: what came out of a run. It can be made again from the other files."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import Any

from pydantic import Field, model_validator

from harness.protocol.schema import Ended
from harness.results import v1
from harness.results.schema.manifest import SCHEMA_VERSION
from harness.results.schema.pairs import RatioSummary
from harness.results.schema.stored import OfKind, Stored, Workloads
from harness.validate import Verdict


class RunVerdict(str, Enum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class ParitySummary(Stored):
    items: int
    by_verdict: dict[Verdict, int]
    by_subset: dict[str, dict[Verdict, int]]
    max_margin_error: float | None = None
    """Of a generation."""
    max_error: float | None = None
    relative_error: float | None = None
    """Of a tensor workload."""
    tokens: int | None = None
    """Of a language model that was fed with PyTorch's tokens: how many steps were compared."""
    tokens_equal: int | None = None
    """At how many of them it would have given PyTorch's token itself."""
    perplexity: float | None = None
    expected_perplexity: float | None = None
    """Of PyTorch's tokens, for the runner's model and for PyTorch's."""
    kl: float | None = None
    """The mean divergence KL(PyTorch || ours) of the next token's distributions over these steps, in nats."""
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


class AccuracySummary(Stored):
    items: int
    per: float
    wer: float


class LatencySummary(Stored):
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


class TokenRates(Stored):
    """How fast a language model took a prompt and gave tokens: medians over the warm samples of one item."""

    prompt: int
    """The prompt's tokens."""
    new: int
    """The tokens that followed."""
    first_token: float
    """Nanoseconds from the prompt to the first token, inside the calls."""
    prefill: float
    """The prompt's tokens a second, until the first token."""
    decode: float | None
    """Tokens a second after the first one; None if there was one only."""


class ItemLatency(Stored):
    """Warm samples of one item, in nanoseconds."""

    samples: int
    median: float
    mad: float
    min: float
    max: float
    tokens: TokenRates | None = Field(default=None, exclude_if=lambda value: value is None)
    """Only of a language model."""


class GeneratedAnswer(Stored):
    """What a language model answered to one prompt, and PyTorch's answer. Long texts are cut."""

    label: str
    """The prompt, as a person calls it."""
    verdict: Verdict
    expected: str
    got: str
    """Empty if it did not run."""
    ended: Ended | None
    expected_ended: Ended
    """Why the generations ended. The first is None where PyTorch's tokens were fed."""


class WorkloadSummary(OfKind):
    """What one workload answered and took. Times in nanoseconds."""

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
    answers: dict[str, GeneratedAnswer] = Field(default={}, exclude_if=lambda value: not value)
    """By item, only of a language model."""
    cold_load: int | None = None
    """Taking its functions from the library and initialising their VMs."""
    first: int | None = None
    """The first call of the process."""
    peak_bytes: int | None = None
    pytorch: LatencySummary | None = None
    """Of the items that were timed alternately, which are fewer than those of ``warm``: ``ratio`` compares them."""
    ratio: RatioSummary | None = None

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
        """Comparisons. An item may have several."""
        return sum(found.items for found in self.parity.values())

    def count(self, verdict: Verdict) -> int:
        """Return how many comparisons ended like that."""
        return sum(found.by_verdict.get(verdict, 0) for found in self.parity.values())


class WideLayer(Stored):
    """A layer that should keep more bits, because its error is among the largest of a workload that failed."""

    workload: str
    layer: str
    """A pattern for ``--keep-wide``."""
    error: float
    """The root mean square of its results' error over that of its results, on the model's usual inputs."""

    @property
    def option(self) -> str:
        """Return the option that keeps it wide, for a shell."""
        return f"--keep-wide {shlex.quote(self.layer)}"


class Summary(Stored, Workloads[WorkloadSummary]):
    schema_version: int = SCHEMA_VERSION
    verdict: RunVerdict
    reasons: list[str]
    """Why it is not a pass; empty for a pass."""
    keep_wide: list[WideLayer] = []
    """The layers to keep wide where a workload of fewer bits fails, the worst first."""
    workloads: dict[str, WorkloadSummary] = {}
    """By name, in the manifest's order; one that nothing is known of has a summary, too."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.summary(stored) if isinstance(stored, dict) else stored
