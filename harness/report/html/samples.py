"""The samples of a run's latency orders as columns, read fast enough for a million of them.

The store's own reader validates every field of every line, ten times slower than a page may take. This one decodes
only the fields that are drawn, checks their types, and treats a torn last line as the store does.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.protocol import Phase
from harness.results import Manifest, Run, RunDamaged
from harness.results.store import SAMPLES

PHASES = (Phase.FIRST, Phase.WARMUP, Phase.TIMED)
"""A sample's phase is stored as the place in this list."""
_PHASE = {phase.value: at for at, phase in enumerate(PHASES)}
TIMED = PHASES.index(Phase.TIMED)


class _Record(msgspec.Struct, gc=False):
    record: str
    items: list[str] = msgspec.field(default_factory=list)
    phase: str = ""
    repetition: int = 0
    total_ns: int = 0
    encoder_ns: int = 0
    prefill_ns: int | None = None
    step_ns: list[int] = msgspec.field(default_factory=list)


class _Line(msgspec.Struct, gc=False):
    order: str
    record: _Record


@dataclass(frozen=True)
class Samples:
    """What one variant's latency orders recorded, in the order in which it was measured. Times in nanoseconds."""

    variant: str
    items: Sequence[str]
    """Item ids, those of a batch with a space between; ``item`` holds places in it."""
    item: NDArray[np.int32]
    phase: NDArray[np.int8]
    repetition: NDArray[np.int32]
    total: NDArray[np.int64]
    encoder: NDArray[np.int64]
    prefill: NDArray[np.int64]
    """0 for a variant without a cache."""
    steps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.total)

    @property
    def timed(self) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = self.phase == TIMED
        return mask

    @property
    def other(self) -> NDArray[np.int64]:
        """What lies outside the calls."""
        rest: NDArray[np.int64] = self.total - self.encoder - self.prefill - self.steps
        return rest

    def item_medians(self) -> NDArray[np.float64]:
        """The median of each item's timed samples, NaN for an item without any."""
        medians = np.full(len(self.items), np.nan)
        timed = self.timed
        if timed.any():
            item, total = self.item[timed], self.total[timed]
            # Sorted by item, an item's samples stand together and are cut apart without a pass for each.
            order = np.argsort(item, kind="stable")
            starts = np.flatnonzero(np.diff(item[order], prepend=-1))
            for group in np.split(order, starts[1:]):
                medians[item[group[0]]] = np.median(total[group])
        return medians


@dataclass
class _Columns:
    places: dict[str, int] = field(default_factory=dict)
    item: array[int] = field(default_factory=lambda: array("i"))
    phase: array[int] = field(default_factory=lambda: array("b"))
    repetition: array[int] = field(default_factory=lambda: array("i"))
    times: array[int] = field(default_factory=lambda: array("q"))

    def add(self, record: _Record) -> None:
        items = record.items
        name = items[0] if len(items) == 1 else " ".join(items)
        self.item.append(self.places.setdefault(name, len(self.places)))
        self.phase.append(_PHASE[record.phase])
        self.repetition.append(record.repetition)
        self.times.extend((record.total_ns, record.encoder_ns, record.prefill_ns or 0, sum(record.step_ns)))

    def done(self, variant: str) -> Samples:
        times = np.frombuffer(self.times, dtype=np.int64).reshape(-1, 4)
        return Samples(
            variant=variant,
            items=list(self.places),
            item=np.frombuffer(self.item, dtype=np.int32),
            phase=np.frombuffer(self.phase, dtype=np.int8),
            repetition=np.frombuffer(self.repetition, dtype=np.int32),
            total=times[:, 0],
            encoder=times[:, 1],
            prefill=times[:, 2],
            steps=times[:, 3],
        )


def read_samples(run: Run, manifest: Manifest) -> list[Samples]:
    """A variant's samples each; variants without any are left out. Raises RunDamaged."""
    variants = {order.order_id: order.variant for order in manifest.orders if order.purpose == "latency"}
    columns: dict[str, _Columns] = {}
    for line in _lines(run):
        variant = variants.get(line.order)
        if variant is not None and line.record.record == "sample":
            found = columns.get(variant)
            if found is None:
                found = columns[variant] = _Columns()
            try:
                found.add(line.record)
            except (KeyError, OverflowError) as error:
                raise RunDamaged(f"{run.folder / SAMPLES} holds a sample that no runner writes: {error}") from error
    return [found.done(variant) for variant, found in columns.items()]


def _lines(run: Run) -> Iterator[_Line]:
    decode = msgspec.json.Decoder(_Line).decode
    path = run.folder / SAMPLES
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decode(line)
            except msgspec.MsgspecError as error:
                raise RunDamaged(f"{path}, line {number}: {error}") from error
