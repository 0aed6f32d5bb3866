"""Read the samples of a run's latency orders as columns, fast enough for a million of them.

The store's own reader validates every field of every line, which is ten times slower than a page may take. This reader
decodes only the fields that are drawn, checks their types, and treats a torn last line as the store does.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.protocol.schema import Phase
from harness.results import Manifest, Run, RunDamaged, called
from harness.results.store import SAMPLES

PHASES = (Phase.FIRST, Phase.WARMUP, Phase.TIMED)
"""A sample's phase is stored as its index in this list."""
_PHASE = {phase.value: at for at, phase in enumerate(PHASES)}
TIMED = PHASES.index(Phase.TIMED)
BLOCK = 1 << 16
"""The bytes of the file that are decoded at once. Larger blocks fall out of the processor's cache and take twice as
long."""


class _Record(msgspec.Struct, gc=False):
    record: str
    items: list[str] = msgspec.field(default_factory=list)
    phase: str = ""
    repetition: int = 0
    total_ns: int = 0


class _Calls(msgspec.Struct, gc=False):
    encoder: list[int] = msgspec.field(default_factory=list)
    prefill: list[int] = msgspec.field(default_factory=list)
    step: list[int] = msgspec.field(default_factory=list)


class _RecordWithParts(_Record, gc=False):
    parts: _Calls = msgspec.field(default_factory=_Calls)
    # Version 1 had a field for each part.
    encoder_ns: int = 0
    prefill_ns: int | None = None
    step_ns: list[int] = msgspec.field(default_factory=list)


class _Line(msgspec.Struct, gc=False):
    order: str
    record: _Record


class _LineWithParts(_Line, gc=False):
    record: _RecordWithParts


@dataclass(frozen=True)
class Parts:
    """Hold the parts of each sample, in nanoseconds."""

    encoder: NDArray[np.int64]
    prefill: NDArray[np.int64]
    """0 for a variant without a cache."""
    steps: NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Hold the samples of a variant's latency orders, in the order of measuring. Times are nanoseconds."""

    workload: str
    variant: str
    """Empty for a workload without variants."""
    items: Sequence[str]
    """Item ids; those of a batch are joined by spaces. ``item`` contains indices into this list."""
    item: NDArray[np.int32]
    phase: NDArray[np.int8]
    repetition: NDArray[np.int32]
    total: NDArray[np.int64]
    parts: Parts | None
    """None if they were not asked for."""

    def __len__(self) -> int:
        return len(self.total)

    @property
    def name(self) -> str:
        """Return a person's name for what was timed."""
        return called(self.workload, self.variant)

    @property
    def timed(self) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = self.phase == TIMED
        return mask

    @cached_property
    def by_item(self) -> dict[int, NDArray[np.int64]]:
        """Return the timed samples of each item that has any, in the order of measuring."""
        timed = self.timed
        item, total = self.item[timed], self.total[timed]
        # Sorting puts an item's samples side by side, so that they are split without a pass for each item.
        order = np.argsort(item, kind="stable")
        starts = np.flatnonzero(np.diff(item[order], prepend=-1))
        groups = np.split(total[order], starts[1:]) if len(order) else []
        return dict(zip(item[order][starts].tolist(), groups, strict=True))

    def item_medians(self) -> NDArray[np.float64]:
        """Return the median of each item's timed samples, NaN for an item without any."""
        medians = np.full(len(self.items), np.nan)
        for item, times in self.by_item.items():
            medians[item] = np.median(times)
        return medians


class _Places(dict[str, int]):
    """Number names in the order in which they are first asked for."""

    def __missing__(self, name: str) -> int:
        self[name] = place = len(self)
        return place


@dataclass
class _Columns:
    places: _Places = field(default_factory=_Places)
    item: array[int] = field(default_factory=lambda: array("i"))
    phase: array[int] = field(default_factory=lambda: array("b"))
    repetition: array[int] = field(default_factory=lambda: array("i"))
    total: array[int] = field(default_factory=lambda: array("q"))
    encoder: array[int] = field(default_factory=lambda: array("q"))
    prefill: array[int] = field(default_factory=lambda: array("q"))
    steps: array[int] = field(default_factory=lambda: array("q"))

    def add(self, records: Sequence[_Record]) -> None:
        """Add records one column at a time, which takes half as long as one record at a time."""
        places, items = self.places, [record.items for record in records]
        self.item.extend([places[names[0] if len(names) == 1 else " ".join(names)] for names in items])
        self.phase.extend([_PHASE[record.phase] for record in records])
        self.repetition.extend([record.repetition for record in records])
        self.total.extend([record.total_ns for record in records])

    def add_parts(self, records: Sequence[_RecordWithParts]) -> None:
        self.encoder.extend([sum(record.parts.encoder) + record.encoder_ns for record in records])
        self.prefill.extend([sum(record.parts.prefill) + (record.prefill_ns or 0) for record in records])
        self.steps.extend([sum(record.parts.step) + sum(record.step_ns) for record in records])

    def done(self, workload: str, variant: str, parts: bool) -> Samples:
        encoder, prefill, steps = (
            np.frombuffer(one, dtype=np.int64) for one in (self.encoder, self.prefill, self.steps)
        )
        return Samples(
            workload=workload,
            variant=variant,
            items=list(self.places),
            item=np.frombuffer(self.item, dtype=np.int32),
            phase=np.frombuffer(self.phase, dtype=np.int8),
            repetition=np.frombuffer(self.repetition, dtype=np.int32),
            total=np.frombuffer(self.total, dtype=np.int64),
            parts=Parts(encoder, prefill, steps) if parts else None,
        )


def samples_bytes(run: Run) -> int:
    """Return the size of the samples' file, which decides how much of it is read."""
    path = run.folder / SAMPLES
    return path.stat().st_size if path.exists() else 0


def read_samples(run: Run, manifest: Manifest, *, parts: bool = True) -> list[Samples]:
    """Return the samples of each variant that has any; ``parts`` also reads their parts. Raises RunDamaged."""
    latency = [order for order in manifest.orders if order.purpose == "latency"]
    variants = {order.order_id: (order.workload, order.variant) for order in latency}
    columns = {key: _Columns() for key in variants.values()}
    for lines in _blocks(run, _LineWithParts if parts else _Line):
        for order in {line.order for line in lines} & set(variants):
            records = [line.record for line in lines if line.order == order and line.record.record == "sample"]
            try:
                columns[variants[order]].add(records)
                columns[variants[order]].add_parts([one for one in records if isinstance(one, _RecordWithParts)])
            except (KeyError, OverflowError) as error:
                raise RunDamaged(f"{run.folder / SAMPLES} holds a sample that no runner writes: {error}") from error
    return [found.done(*key, parts) for key, found in columns.items() if found.total]


def _blocks(run: Run, kind: type[_Line]) -> Iterator[Sequence[_Line]]:
    """Yield the file's whole lines, many at a time."""
    decoder = msgspec.json.Decoder(kind)
    path = run.folder / SAMPLES
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        rest, number = b"", 0
        while block := file.read(BLOCK):
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                try:
                    lines = decoder.decode_lines(whole)
                except msgspec.MsgspecError as error:
                    raise _damage(path, decoder, whole, number) from error
                yield lines
                number += len(lines)


def _damage(path: Path, decoder: msgspec.json.Decoder[_Line], whole: bytes, before: int) -> RunDamaged:
    """Return an error that names the damaged line; ``before`` is the number of lines before this block."""
    reasons = (_reason(decoder, line) for line in whole.split(b"\n"))
    number, reason = next((at, reason) for at, reason in enumerate(reasons, before + 1) if reason)
    return RunDamaged(f"{path}, line {number}: {reason}")


def _reason(decoder: msgspec.json.Decoder[_Line], line: bytes) -> str | None:
    try:
        decoder.decode(line)
    except msgspec.MsgspecError as error:
        return str(error)
    return None
