"""What a run keeps of the turns that its runner and PyTorch took, and the ratios that come of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from harness.results import v1
from harness.results.schema.stored import Stored

WIDEST = 1.5
"""A ratio whose interval's upper end is more than so many times its lower end is not shown as a number: it is uncertain
by more than a fifth to either side (docs/measuring.md)."""
APART, INCONCLUSIVE = "timed apart", "inconclusive"
"""The text next to a ratio of two sessions, and instead of one whose interval is too wide."""
BUSY, STOLEN = 0.1, 0.02
"""Shares of all cores kept busy by others, and of the time taken by the host, from which the machine was not quiet."""

INTERRUPTED = "interrupted"


class PairLine(Stored):
    """A line of pairs.jsonl: an item of one round, timed on both sides, one right after the other."""

    workload: str
    item: str
    round: int
    """Counted from 0."""
    first: Literal["artifact", "pytorch"]
    """The side that was timed first; it alternates."""
    artifact_ns: list[int]
    """Every timed pass of the runner's process, after its warm-up."""
    pytorch_ns: list[int]

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.of_workload(stored) if isinstance(stored, dict) else stored


class PairingFacts(Stored):
    """How one workload was timed alternately with PyTorch, and what else the machine did meanwhile."""

    started: str
    items: int
    """Timed alternately, a fixed sample spread over languages and lengths, of the ``of`` that the run has."""
    of: int
    rounds: int = 0
    seconds: float = 0.0
    threads: int = 1
    torch_version: str | None = None
    load_1min: float | None = None
    """When it began."""
    cores: int | None = None
    others: float | None = None
    """How many cores anything else kept busy, on average; None where it cannot be read."""
    steal: float | None = None
    """The share of the machine's time that its host gave to others; None where it cannot be read."""
    differing: dict[str, str] = {}
    """Items, left out of the ratio, that PyTorch answered otherwise than when the runner was compared, and how."""
    wrong: dict[str, str] = {}
    """The same of items that the runner answered otherwise."""
    reason: str | None = None
    """Why there is no ratio, or one of fewer rounds than were to be."""


class ItemRatio(Stored):
    """One item, timed alternately on both sides."""

    artifact: float
    pytorch: float
    """Medians over the rounds, in nanoseconds."""
    ratio: float
    low: float | None
    high: float | None

    @property
    def conclusive(self) -> bool:
        return narrow(self.low, self.high)


class RatioSummary(Stored):
    """Of the artifact to PyTorch, the same items; above 1 the artifact is slower.

    Where ``paired`` is true it is the geometric mean of the items' ratios in ``by_item``, with a 95 % interval from
    how the rounds differ. Where it is false, in older runs, it is the median over items of times taken in two
    sessions: every report marks it so in the same line.
    """

    items: int
    ratio: float
    low: float | None
    high: float | None
    paired: bool = False
    """Whether both sides were timed alternately, in one session."""
    of: int | None = None
    """How many items the run has."""
    rounds: int | None = None
    artifact: float | None = None
    pytorch: float | None = None
    """Geometric means over the items of their medians, in nanoseconds."""
    cores: int | None = None
    others: float | None = None
    steal: float | None = None
    """What else the machine did meanwhile, see :class:`PairingFacts`."""
    by_item: dict[str, ItemRatio] = {}

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.counted(stored) if isinstance(stored, dict) else stored

    @property
    def conclusive(self) -> bool:
        """Whether the interval is narrow enough for the ratio to be shown; for times taken apart it is unknown."""
        return not self.paired or narrow(self.low, self.high)

    @property
    def busy(self) -> str | None:
        """What a reader should know of the machine, for the line of the ratio; None where it was quiet."""
        causes = []
        if self.others is not None and self.cores and self.others > BUSY * self.cores:
            causes.append(f"others kept {self.others:.1f} of {self.cores} cores busy")
        if self.steal is not None and self.steal > STOLEN:
            causes.append(f"the host took {self.steal:.0%} of the time")
        return " and ".join(causes) or None


def narrow(low: float | None, high: float | None) -> bool:
    """Return whether a ratio with that interval is shown as a number."""
    return low is not None and high is not None and high <= WIDEST * low
