"""The lines of ``samples.jsonl``, ``reference.jsonl`` and ``parity.jsonl``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from harness.protocol.schema import Record
from harness.results import v1
from harness.results.schema.manifest import called
from harness.results.schema.stored import Stored
from harness.validate import ItemParity


class SampleLine(Stored):
    """A line of samples.jsonl: a raw record of the runner and the order it belongs to."""

    order: str
    record: Record


class ReferenceLine(Stored):
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
    """A line of parity.jsonl: one item's answer compared with PyTorch's; see harness.validate."""

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
