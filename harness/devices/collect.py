"""Reads a result while it grows, and trusts none of it.

It comes from another process or another machine, so its size, its lines, its schema, its order and
its completeness are all checked; whatever came before the first fault is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.devices.base import AnyRecord, OnRecord
from harness.protocol import (
    End,
    Header,
    Machine,
    Memory,
    Probe,
    ProfileRecord,
    Sample,
    TapsRecord,
    Thermal,
    WorkOrder,
    parse_record,
)
from harness.tensors import DamagedTensors, decode

MAX_RESULT_BYTES = 256 * 2**20
MAX_LINE_BYTES = 16 * 2**20
_CHUNK = 2**20


class ResultReader:
    """The records so far. ``fault`` names the first breach of the protocol, after which nothing is read.

    They come from ``path`` with :meth:`poll`, or piece by piece with :meth:`feed`. ``before`` are the records of an
    earlier process of the same order, which this one continues behind a header of its own.
    """

    def __init__(
        self,
        path: Path | None,
        order: WorkOrder,
        on_record: OnRecord | None = None,
        *,
        before: Sequence[AnyRecord] = (),
        max_bytes: int = MAX_RESULT_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.path = path
        self.order = order
        self.records: list[AnyRecord] = list(before)
        self.end: End | None = None
        self.fault: str | None = None
        self._on_record = on_record
        self._max_bytes = max_bytes
        self._max_line_bytes = max_line_bytes
        self._vocabularies = {model.name: model.vocab_size for model in order.models}
        self._outputs = {model.name: model.outputs for model in order.tensor_models}
        self._items = {item.id: item.model for item in order.items} | {
            item.id: item.model for item in order.tensor_items
        }
        self._before = len(self.records)
        self._read = 0
        self._lines = 0
        self._torn = b""

    def poll(self) -> None:
        """Read what was appended since the last call; a missing file has nothing yet."""
        if self.path is None:
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                while self.fault is None and (chunk := file.read(_CHUNK)):
                    self.feed(chunk)
        except FileNotFoundError:
            return

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the result."""
        if self.fault:
            return
        self._read += len(chunk)
        if self._read > self._max_bytes:
            self.fault = f"the result is larger than {self._max_bytes} bytes"
            return
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        for line in lines:
            self._lines += 1
            self._take(line)
            if self.fault:
                return
        if len(self._torn) > self._max_line_bytes:
            self.fault = f"line {self._lines + 1} is longer than {self._max_line_bytes} bytes"

    @property
    def fresh(self) -> list[AnyRecord]:
        """The records of this process alone."""
        return self.records[self._before :]

    def missing(self) -> str | None:
        """What keeps the result from being complete, or None."""
        if self.fault:
            return self.fault
        if self.end is None:
            torn = f" and a torn line of {len(self._torn)} bytes" if self._torn else ""
            return f"no end record after {len(self.records)} records{torn}"
        if self.end.error is not None or self.end.status != "ok":
            return self._reported()
        return self._uncovered()

    def _take(self, line: bytes) -> None:
        if len(line) > self._max_line_bytes:
            self.fault = f"line {self._lines} is longer than {self._max_line_bytes} bytes"
            return
        try:
            record = parse_record(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            self.fault = f"line {self._lines} is not a record: {place + ': ' if place else ''}{first['msg']}"
            return
        self.fault = self._breach(record)
        if self.fault:
            self.fault = f"line {self._lines}: {self.fault}"
            return
        self.records.append(record)
        if isinstance(record, End):
            self.end = record
        if self._on_record is not None:
            self._on_record(record)

    def _breach(self, record: AnyRecord) -> str | None:
        if self.end is not None:
            return f"a {record.record} record after the end record"
        if isinstance(record, Header):
            return self._breach_of_header(record)
        if isinstance(record, End):
            # An order the runner could not read has no header and possibly no id of its own.
            if record.order_id != self.order.order_id:
                return f"the end record is of order {record.order_id!r}, not {self.order.order_id!r}"
            return None
        if len(self.records) == self._before:
            return f"a {record.record} record before the header"
        if isinstance(record, Memory | Machine | Thermal):
            return None
        if record.model not in self._vocabularies and record.model not in self._outputs:
            return f"unknown model {record.model!r}"
        if isinstance(record, Sample | Probe):
            return self._breach_of_answer(record)
        if isinstance(record, TapsRecord):
            return self._breach_of_taps(record)
        if isinstance(record, ProfileRecord) and len(record.numbers) != len(record.values):
            return f"a profile of {len(record.numbers)} marks has {len(record.values)} values"
        return None

    def _breach_of_header(self, header: Header) -> str | None:
        if self.fresh:
            return "a second header"
        if header.order_id != self.order.order_id:
            return f"the result is of order {header.order_id!r}, not {self.order.order_id!r}"
        if header.archive_sha256 != self.order.archive_sha256:
            return f"the runner holds archive {header.archive_sha256[:12]}, not {self.order.archive_sha256[:12]}"
        if header.slowdown_percent != self.order.slowdown_percent:
            return f"the runner slows itself down by {header.slowdown_percent:g} %, which was not asked for"
        return None

    def _breach_of_answer(self, record: Sample | Probe) -> str | None:
        outputs = self._outputs.get(record.model)
        found = self._breach_of_outputs(record) if outputs is None else self._breach_of_tensors(record, outputs)
        return found or (_breach_of_times(record) if isinstance(record, Sample) else None)

    def _breach_of_tensors(self, record: Sample | Probe, outputs: list[str]) -> str | None:
        if len(record.items) != 1 or self._items.get(record.items[0]) != record.model:
            return f"items {record.items!r} are not one of model {record.model!r} in this order"
        if isinstance(record, Sample):
            return None if record.output_sha256 else "a sample of tensors without the hash of its outputs"
        try:
            found = set() if record.tensors is None else set(decode(record.tensors))
        except DamagedTensors as error:
            return f"item {record.items[0]!r}: {error.args[0]}"
        return None if found == set(outputs) else f"item {record.items[0]!r} has other outputs than {outputs}"

    def _breach_of_taps(self, record: TapsRecord) -> str | None:
        window = None if self.order.probe is None else self.order.probe.taps
        if window is None or window.item not in record.items:
            return "taps that were not asked for"
        before = sum(isinstance(known, TapsRecord) for known in self.fresh)
        if record.part != before:
            return f"part {record.part} of the taps where part {before} belongs"
        try:
            found = decode(record.tensors)
        except DamagedTensors as error:
            return f"taps: {error.args[0]}"
        return None if set(found) == {"taps"} else "taps of another name"

    def _breach_of_outputs(self, record: Sample | Probe) -> str | None:
        vocabulary = self._vocabularies[record.model]
        if len(record.outputs) != len(record.items) or not record.items:
            return f"{len(record.outputs)} outputs for {len(record.items)} items"
        for item, output in zip(record.items, record.outputs, strict=True):
            if self._items.get(item) != record.model:
                return f"item {item!r} is not of model {record.model!r} in this order"
            if any(not 0 <= token < vocabulary for token in output.token_ids):
                return f"a token id of item {item!r} is outside the vocabulary of {vocabulary}"
        return None

    def _reported(self) -> str:
        assert self.end is not None
        error = self.end.error
        if error is None:
            return "the runner reported an error without saying which"
        item = f" (item {error.item})" if error.item else ""
        return f"the runner reported a {error.kind} error: {error.message}{item}"

    def _uncovered(self) -> str | None:
        assert self.end is not None
        samples = [record for record in self.records if isinstance(record, Sample)]
        if not any(isinstance(record, Header) for record in self.records):
            return "no header"
        if self.end.samples != len(samples):
            return f"the end record counts {self.end.samples} samples, {len(samples)} arrived"
        passes = self.order.warmup + self.order.repetitions
        seen = Counter(item for sample in samples for item in sample.items)
        probed = Counter(item for record in self.records if isinstance(record, Probe) for item in record.items)
        for item in self._items:
            if seen[item] != passes:
                return f"item {item!r} has {seen[item]} samples of {passes}"
            if self.order.probe is not None and probed[item] != 1:
                return f"item {item!r} has {probed[item]} probes instead of one"
        return None


def _breach_of_times(sample: Sample) -> str | None:
    times = [sample.total_ns, sample.encoder_ns, sample.prefill_ns or 0, *sample.step_ns]
    if min(times) < 0:
        return "a negative time"
    return "the parts take longer than the whole" if sum(times[1:]) > sample.total_ns else None
