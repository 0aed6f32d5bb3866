"""Read a result while it grows, and trust none of it.

It comes from another process or another machine. So its size, its lines, its schema, its order and its completeness are
all checked. Everything before the first fault is kept.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from harness.devices.base import AnyRecord, OnRecord
from harness.devices.breaches import Breaches
from harness.protocol.schema import End, WorkOrder, parse_record

MAX_RESULT_BYTES = 256 * 2**20
MAX_LINE_BYTES = 16 * 2**20
_CHUNK = 2**18
"""Bytes read at once."""


class ResultReader:
    """Collect the records so far. ``fault`` names the first breach of the protocol; nothing is read after it.

    They come from ``path`` with :meth:`poll`, or piece by piece with :meth:`feed`. ``before`` are the records of an
    earlier process of the same order, which this one continues after a header of its own.
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
        self._breaches = Breaches(order, self.records)
        self._before = len(self.records)
        self._read = 0
        self._lines = 0
        self._torn = bytearray()

    def poll(self) -> None:
        """Read what was appended since the last call; a missing file counts as empty."""
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
        first, newline, more = chunk.partition(b"\n")
        self._torn += first
        if newline:
            # A torn line is put together only once, however many pieces it came in.
            *lines, rest = more.split(b"\n")
            whole, self._torn = bytes(self._torn), bytearray(rest)
            with _without_collecting():
                for line in (whole, *lines):
                    self._lines += 1
                    self._take(line)
                    if self.fault:
                        return
        if len(self._torn) > self._max_line_bytes:
            self.fault = f"line {self._lines + 1} is longer than {self._max_line_bytes} bytes"

    @property
    def fresh(self) -> list[AnyRecord]:
        """Return the records of this process alone."""
        return self.records[self._before :]

    def missing(self) -> str | None:
        """Return why the result is not complete, or None."""
        if self.fault:
            return self.fault
        if self.end is None:
            torn = f" and a torn line of {len(self._torn)} bytes" if self._torn else ""
            return f"no end record after {len(self.records)} records{torn}"
        if self.end.error is not None or self.end.status != "ok":
            return self._reported()
        return self._breaches.uncovered(self.end)

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
        breach = self._breaches.of(record)
        if breach:
            self.fault = f"line {self._lines}: {breach}"
            return
        self.records.append(record)
        if isinstance(record, End):
            self.end = record
        if self._on_record is not None:
            self._on_record(record)

    def _reported(self) -> str:
        assert self.end is not None
        error = self.end.error
        if error is None:
            return "the runner reported an error without naming it"
        item = f" (item {error.item})" if error.item else ""
        return f"the runner reported a {error.kind} error: {error.message}{item}"


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Suspend garbage collection.

    Records contain no cycles, and searching them for cycles would take most of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
