"""What a run folder holds of a profile: ``profile.jsonl``, ``profile.json`` and the archive's ``provenance.json``.

``docs/profiling.md`` explains them.
"""

from __future__ import annotations

from typing import Any

from pydantic import computed_field, model_validator

from harness.protocol.schema import Machine, Precision, Record
from harness.results import v1
from harness.results.schema.stored import Stored

LINES, SUMMARY, PROVENANCE = "profile.jsonl", "profile.json", "provenance.json"
SCHEMA_VERSION = 3
POSSIBLE_GAIN = 0.03
"""Instrumentation adds work and takes none away. Code that comes to lie elsewhere in memory may be faster by so much;
what is faster by more was measured while the machine did something else, too."""


class ProfileLine(Stored):
    """A line of profile.jsonl: a record of one of the profile's orders. ``profiled``: its archive was instrumented."""

    order: str
    profiled: bool
    record: Record

    @classmethod
    def of(cls, order: str, profiled: bool, record: Record) -> ProfileLine:
        return cls(order=order, profiled=profiled, record=record)


class SiteTime(Stored):
    """One kernel's call, or one part of a merged kernel, over all timed samples."""

    function: str
    index: int
    """Its place among the function's, in the order they run."""
    kernel: str
    operators: list[str]
    """What it computes, in the graph's order: operators' names without their namespace, such as ``linear``."""
    nodes: list[str]
    """The graph's names of the same."""
    module: str
    """The innermost module that holds all of them; empty for the function's own."""
    calls: int
    total_ns: int
    median_ns: float
    min_ns: int
    bytes: int | None
    """Moved by all calls together; None where a call did not report it."""
    flops: int | None


class FunctionTime(Stored):
    """A compiled function over all timed samples."""

    name: str
    calls: int
    total_ns: int
    """Around the calls, as the runner measures it: kernels, and what the virtual machine does between them."""
    kernel_ns: int


class Overhead(Stored):
    """What profiling costs: profiled samples over plain ones of the same items, made in turn."""

    items: int
    ratio: float
    """Above 1 profiling costs time."""
    low: float | None
    high: float | None
    plain_ns: float
    profiled_ns: float
    """Geometric means over the items of the fastest samples, because different items are never pooled."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.counted(stored) if isinstance(stored, dict) else stored

    @computed_field  # type: ignore[prop-decorator]
    @property
    def noisy(self) -> bool:
        """Whether the figure is impossible, so that neither it nor the profile's times can be trusted."""
        return (self.high if self.high is not None else self.ratio) < 1 - POSSIBLE_GAIN


class ProfileSummary(Stored):
    """One workload's."""

    workload: str
    unit: str = "item"
    """What one sample runs: a word, or an item."""
    variant: str
    """Of the archive."""
    precision: Precision = "fp32"
    emulated: bool
    archive_sha256: str
    """Of the instrumented archive, which is not the one that is timed and compared."""
    samples: int
    total_ns: int
    """Of all timed samples: from tokenization to text, or the call."""
    functions: list[FunctionTime]
    sites: list[SiteTime]
    machine: Machine | None
    overhead: Overhead | None

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.profile(stored) if isinstance(stored, dict) else stored


class Profiles(Stored):
    """``profile.json``."""

    schema_version: int = SCHEMA_VERSION
    workloads: list[ProfileSummary]

    @model_validator(mode="before")
    @classmethod
    def _read_before(cls, stored: Any) -> Any:
        return v1.profiles(stored) if isinstance(stored, dict) else stored
