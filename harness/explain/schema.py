"""Define the result of ``harness explain``, kept as ``explain/<item>.json`` in a run folder (``docs/explain.md``)."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict, computed_field

from harness.protocol.schema import Precision

SCHEMA_VERSION = 1
FOLDER = "explain"
UNKNOWN, NOT_REACHED = "was not compared", "did not run, or gave nothing away"
"""Reasons why calls were not compared, if their kernel has no reason of its own."""
GIVEN, GIVEN_UP = "given.json", "given-up"
"""Files that signal to the comparing worker that the taps are there, or that there will be none."""
INPUTS = "inputs.safetensors"
"""The file with a tensor workload's arguments, beside them."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Error(_Stored):
    """Hold how far a kernel's output is from PyTorch's.

    ``largest`` is absolute, None if the output is not finite and PyTorch's is. ``relative`` is over the root mean
    square of PyTorch's. ``snr`` is in decibels, None for no error at all.
    """

    largest: float | None
    relative: float | None
    cosine: float | None
    snr: float | None
    allowed: float
    """The largest error that is not a divergence."""
    departs: bool

    @property
    def times_allowed(self) -> float:
        """Return the error over the allowed one; infinite if it is not finite, or if no error is allowed."""
        if self.largest is None:
            return float("inf")
        if self.allowed == 0:
            return float("inf") if self.largest else 0.0
        return self.largest / self.allowed


class SiteRow(_Stored):
    """Describe one call of a kernel, or of a part of a merged one."""

    function: str
    call: int
    """The number of the function's call, from 0; for a decoder's step it is the token's place."""
    index: int
    """The number among the function's kernels, in the order in which they run."""
    kernel: str
    operation: str | None = None
    """The node of the exported graph whose value the output is, and its target; of several side by side, the last
    one."""
    target: str | None = None
    module: str = ""
    """The innermost module that contains everything that the kernel computes."""
    operators: list[str] = []
    """The nodes that the kernel computes, in the graph's order."""
    shape: list[int] = []
    own: Error | None = None
    """The error against PyTorch on the values that this kernel was given, which is this kernel's own. None if not
    compared."""
    whole: Error | None = None
    """The error against PyTorch's own run from the item on, which includes inherited errors."""
    unseen: list[str] = []
    """Operators of kernels that were not compared, on the way to this kernel's inputs. PyTorch computed them for
    ``own``, so that their errors count as this kernel's."""
    uncompared: str = ""
    """Why it was not compared, as "a kernel that …"."""

    @property
    def place(self) -> str:
        """Return a person's name for the call."""
        return f"{self.function} {self.call}" if self.function in ("decoder_step", "decoder") else self.function


class Coverage(_Stored):
    """Count how much of what ran was compared with PyTorch."""

    calls: int
    """Calls of kernels and of parts of merged ones, in the functions' calls up to the step at which the tokens
    differ."""
    compared: int
    uncompared: dict[str, int]
    """Uncompared calls, by reason."""


class Explanation(_Stored):
    schema_version: int = SCHEMA_VERSION
    run_id: str
    item: str
    model: str = "g2p"
    """The model's name in work orders."""
    language: str = ""
    word: str = ""
    variant: str
    """G2P's variant, or the name of a tensor workload."""
    precision: Precision = "fp32"
    device: str = "host"
    verdict: str | None = None
    """The run's verdict."""
    detail: str = ""
    """The difference in the outputs of a tensor workload."""
    step: int | None = None
    """The first step at which the run's tokens differ from PyTorch's."""
    expected_token: int | None = None
    got_token: int | None = None
    expected_margin: float | None = None
    got_margin: float | None = None
    tie: bool = False
    """True if the two best logits were closer than the tolerance at that step, on both sides."""
    reproduced: bool | None = None
    """True if the instrumented archive gave the run's tokens again; None if it did not reach its answer."""
    error: str | None = None
    """The error with which the instrumented archive ended instead of an answer."""
    rows: list[SiteRow]
    """The compared calls, in the order in which they ran."""
    planned: int | None = None
    """The number of calls for which a run without an error has rows."""
    archive_sha256: str
    """The hash of the instrumented archive."""
    checkpoint_sha256: str = ""
    versions: dict[str, str] = {}
    command: list[str] = []
    """The command that makes it again, with its devices; empty in files of before this was kept."""
    seconds: dict[str, float] = {}
    """The seconds that each part of the explanation took."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def coverage(self) -> Coverage:
        """Return the coverage, counted from the rows. The file contains it too, for its readers."""
        why = Counter(row.uncompared or UNKNOWN for row in self.rows if row.own is None)
        calls = max(len(self.rows), self.planned or 0)
        if calls > len(self.rows):
            why[NOT_REACHED] = calls - len(self.rows)
        return Coverage(calls=calls, compared=sum(row.own is not None for row in self.rows), uncompared=dict(why))

    @property
    def name(self) -> str:
        """Return the item as ``--item`` takes it: a word's id, or ``MODEL/ITEM``."""
        return self.item if self.word else f"{self.model}/{self.item}"

    @property
    def first(self) -> SiteRow | None:
        """Return the first kernel that diverges by itself; else the first whose inherited error is too large."""
        own = (row for row in self.rows if row.own is not None and row.own.departs)
        whole = (row for row in self.rows if row.whole is not None and row.whole.departs)
        return next(own, None) or next(whole, None)

    @property
    def departed(self) -> bool:
        return self.first is not None

    @property
    def inherited(self) -> bool:
        """Return whether no kernel diverges by itself, but their errors have accumulated to a divergence."""
        first = self.first
        return first is not None and not (first.own is not None and first.own.departs)

    @property
    def function(self) -> str | None:
        return None if self.first is None else self.first.function

    @property
    def call(self) -> int | None:
        return None if self.first is None else self.first.call

    @property
    def module(self) -> str | None:
        return None if self.first is None else self.first.module

    @property
    def operation(self) -> str | None:
        return None if self.first is None else self.first.operation

    @property
    def target(self) -> str | None:
        return None if self.first is None else self.first.target

    @property
    def operators(self) -> list[str]:
        return [] if self.first is None else self.first.operators

    @property
    def kernel(self) -> str | None:
        return None if self.first is None else self.first.kernel
