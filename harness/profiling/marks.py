"""Read marks as calls of kernels.

A function's kernels are called in the same order each time, so a mark's place in the stream identifies its call. A mark
contains its kernel's number, which is checked against that place. Numbers for bytes and FLOPs follow the mark of their
call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.compiler.observe.provenance import FunctionProvenance, Provenance, Site
from harness.core.errors import HarnessError
from harness.protocol.schema import ProfileRecord

BYTES, FLOPS = -(2**63), -(2**63) + 1
"""Numbers of values that are not times; see ``harness/compiler/observe/profiling.py``."""


class BadMarks(HarnessError):
    """The marks of a profile do not match the archive's kernels."""

    cure = "the run folder and the archive do not belong together: profile again"


@dataclass(slots=True)
class Call:
    """Hold one call of a kernel, or of one part of a merged kernel; times are nanoseconds since the sample began.

    ``function`` and ``index`` name the site, counted as in :meth:`FunctionProvenance.leaves`. ``invocation`` is the
    number of the function's call within the sample.
    """

    function: str
    invocation: int
    index: int
    begin: int
    end: int
    bytes: int | None
    flops: int | None


def calls(provenance: Provenance, record: ProfileRecord) -> Iterator[Call]:
    """Yield the calls of one sample, in order. Raises BadMarks."""
    reader = _Reader(provenance)
    for number, value in zip(record.numbers, record.values, strict=True):
        ended = reader.take(number, value)
        if ended is not None:
            yield ended
    reader.finish()


class _Reader:
    def __init__(self, provenance: Provenance) -> None:
        self._first = {f.sites[0].mark: f for f in provenance.functions if f.sites}
        self._starts: Mapping[str, list[int]] = {f.name: _starts(f) for f in provenance.functions}
        self._invocations = {f.name: -1 for f in provenance.functions}
        self._function: FunctionProvenance | None = None
        self._at = 0
        self._site: Site | None = None
        self._part = -1
        self._open: Call | None = None

    def take(self, number: int, value: int) -> Call | None:
        """Take one event; return the call that it ended, or None."""
        if number in (BYTES, FLOPS):
            self._work(number, value)
            return None
        if self._site is None:
            self._enter(number, value)
            return None
        ended, self._open = self._open, None
        if ended is not None:
            ended.end = value
        if number == ~_mark(self._site):
            self._site = None
        else:
            self._next_part(number, value)
        return ended

    def finish(self) -> None:
        if self._site is not None:
            raise BadMarks(f"{self._site.kernel} began and did not end")
        if self._function is not None and self._at < len(self._function.sites):
            raise BadMarks(f"{self._function.name} ended after {self._at} of {len(self._function.sites)} kernels")

    def _enter(self, number: int, value: int) -> None:
        if self._function is None or self._at == len(self._function.sites):
            self._function = self._first.get(number)
            if self._function is None:
                raise BadMarks(f"no function begins with the kernel of number {number}")
            self._invocations[self._function.name] += 1
            self._at = 0
        site = self._function.sites[self._at]
        if site.mark != number:
            raise BadMarks(f"{self._function.name} called number {number} where {site.kernel} ({site.mark}) belongs")
        self._site, self._part = site, -1
        self._at += 1
        if not site.parts:
            self._begin(site, 0, value)

    def _next_part(self, number: int, value: int) -> None:
        assert self._site is not None
        self._part += 1
        if self._part >= len(self._site.parts) or self._site.parts[self._part].mark != number:
            raise BadMarks(f"number {number} is no part {self._part} of {self._site.kernel}")
        self._begin(self._site.parts[self._part], self._part, value)

    def _begin(self, site: Site, part: int, value: int) -> None:
        assert self._function is not None
        name = self._function.name
        index = self._starts[name][self._at - 1] + part
        work = site.work
        self._open = Call(
            name,
            self._invocations[name],
            index,
            value,
            value,
            work.bytes if work else None,
            work.flops if work else None,
        )

    def _work(self, number: int, value: int) -> None:
        if self._open is None:
            raise BadMarks("work was reported outside a kernel")
        if number == BYTES:
            self._open.bytes = value
        else:
            self._open.flops = None if value < 0 else value


def _mark(site: Site) -> int:
    if site.mark is None:
        raise BadMarks(f"{site.kernel} has no marks: the archive is not instrumented for profiling")
    return site.mark


def _starts(function: FunctionProvenance) -> list[int]:
    """Return the number of each site's first leaf."""
    found, total = [], 0
    for site in function.sites:
        found.append(total)
        total += len(site.parts) or 1
    return found
