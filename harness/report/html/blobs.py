"""Pack raw data into the page: columns of whole numbers and texts, small enough for a million samples.

A column is cut into the planes of its bytes (all lowest bytes, then all second bytes, …), because these compress far
better than the numbers. They are gzipped and written in base64. The page's script unpacks them when someone asks for
the data.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.measure import PARTS, STEP
from harness.report.html.samples import PHASES, Samples
from harness.results.journal import RunLine

GRAIN_OF_SPREAD = 50
"""Samples without parts are rounded to the largest power of ten below their spread (MAD) divided by this."""


@dataclass(frozen=True)
class Column:
    name: str
    data: str
    """Base64 of the gzipped byte planes of unsigned 32-bit numbers."""
    factor: int = 1
    """The numbers are to be multiplied by this."""
    labels: list[str] | None = None
    """If given, the numbers are indices into this list."""


@dataclass(frozen=True)
class RawTable:
    """Hold columns of one length, which the page turns into a CSV file."""

    rows: int
    columns: list[Column]
    constants: dict[str, str] = field(default_factory=dict)
    """Columns with one value in all rows."""
    note: str = ""
    """A note about omitted or rounded data; empty if everything is exact."""


def packed(data: bytes) -> str:
    """Return the data gzipped and in base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


Words = Mapping[str, tuple[str, str]]
"""The language and word of each item of G2P."""


def raw_samples(samples: Samples, words: Words | None, constants: dict[str, str]) -> RawTable:
    """Return all samples of a variant or of a tensor workload, which has no ``words``.

    The samples are exact if they were read with their parts; only very many are read without. The times are
    nanoseconds.
    """
    found = samples.parts
    factor = 1 if found else grain(samples.total)
    columns = [
        *_named(samples.items, samples.item, words),
        _column("phase", samples.phase, labels=[phase.value for phase in PHASES]),
        _column("repetition", samples.repetition),
        _column("total_ns", (samples.total + factor // 2) // factor, factor=factor),
    ]
    if found and words is not None:
        parts = (("encoder_ns", found.encoder), ("prefill_ns", found.prefill), ("steps_ns", found.steps))
        columns += [_column(name, values) for name, values in parts]
    note = "" if found else f"so many samples are rounded to {factor:,} ns and given without their parts"
    return RawTable(len(samples), columns, {**constants, "variant": samples.name}, note)


def raw_nightly(runs: Sequence[RunLine], words: Words | None, constants: dict[str, str], *, exact: bool) -> RawTable:
    """Return every timed pass of a nightly run's unit, in the order of its runs.

    They are exact and with parts, or rounded and without. A tensor workload has no ``words`` and no parts.
    """
    counts = [len(line.samples) for line in runs]
    places = {item: at for at, item in enumerate(dict.fromkeys(item for line in runs for item, _ in line.samples))}
    item = np.fromiter((places[item] for line in runs for item, _ in line.samples), dtype=np.int64)
    total = np.fromiter((total for line in runs for _, total in line.samples), dtype=np.int64)
    factor = 1 if exact or not len(total) else grain(total)

    def repeated(name: str, values: Sequence[str]) -> Column:
        labels = list(dict.fromkeys(values))
        return _column(name, np.repeat([labels.index(one) for one in values], counts), labels=labels)

    columns = [
        repeated("session", [f"{line.stage}, attempt {line.attempt + 1}" for line in runs]),
        _column("pair", np.repeat([line.pair for line in runs], counts)),
        repeated("side", [{"a": "baseline", "b": "candidate"}[line.side] for line in runs]),
        *_named(list(places), item, words),
        _column("total_ns", (total + factor // 2) // factor, factor=factor),
    ]
    # Older journals have no parts.
    if exact and words is not None and all(len(line.parts) == len(line.samples) for line in runs):
        table = np.array([_spent(parts) for line in runs for parts in line.parts]).reshape(-1, 4)
        names = ("encoder_ns", "prefill_ns", "steps_ns", "steps")
        columns += [_column(name, table[:, at]) for at, name in enumerate(names)]
    note = "" if exact else f"so many passes are rounded to {factor:,} ns and given without their parts"
    return RawTable(len(total), columns, constants, note)


def _spent(parts: Mapping[str, tuple[int, int]]) -> list[int]:
    """Return the time of each part of a pass, and the number of its steps."""
    none = (0, 0)
    return [*(parts.get(part, none)[0] for part in PARTS), parts.get(STEP, none)[1]]


def grain(values: NDArray[np.int64]) -> int:
    """Return the power of ten, in the unit of the values, to which rounding makes no visible change."""
    spread = float(np.median(np.abs(values - np.median(values)))) / GRAIN_OF_SPREAD
    return int(10 ** max(0, int(np.floor(np.log10(spread))))) if spread >= 1 else 1


def _named(items: Sequence[str], places: NDArray[np.signedinteger], words: Words | None) -> list[Column]:
    """Return the columns that name each sample's item. The name of a tensor item may contain spaces."""
    if words is None:
        return [_column("item", places, labels=list(items))]
    languages, texts = _labels(items, words)
    return [_column("language", places, labels=languages), _column("word", places, labels=texts)]


def _labels(items: Sequence[str], words: Words) -> tuple[list[str], list[str]]:
    """Return each item's languages and words; an item that is a batch has several."""
    known = [[words.get(item, ("", item)) for item in name.split(" ")] for name in items]
    return [", ".join(dict.fromkeys(lang for lang, _ in batch)) for batch in known], [
        ", ".join(word for _, word in batch) for batch in known
    ]


def _column(
    name: str, values: NDArray[np.signedinteger], *, factor: int = 1, labels: list[str] | None = None
) -> Column:
    """Pack a column of numbers of at most 32 bits.

    Four seconds in nanoseconds fit; for longer times the factor grows. Negative numbers become 0.
    """
    wide = np.asarray(values, dtype=np.int64)
    while wide.size and wide.max() > np.iinfo(np.uint32).max:
        wide, factor = wide // 10, factor * 10
    planes = np.clip(wide, 0, None).astype("<u4").view(np.uint8).reshape(-1, 4).T
    return Column(name, packed(np.ascontiguousarray(planes).tobytes()), factor, labels)
