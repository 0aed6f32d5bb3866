"""Sections of a run's report: each a function that yields blocks, registered by entry point.

The group is ``harness.report_sections``; docs/contributing/report-section.md adds one. The report loops over what is
installed, in the order of the sections' places.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from harness.core.plugins import entries
from harness.report.document import Block, Heading, Line, Tone
from harness.results.schema import Manifest, Summary

GROUP = "harness.report_sections"


@dataclass(frozen=True)
class ReportSection:
    """``blocks`` yields a section of a run's report, and nothing where it has nothing to show.

    ``place`` orders the sections. The harness's own are at 20 (answers and times of generations), 30 (PyTorch's times),
    40 (tensor workloads), 50 (the gate), 60 (conditions) and 90 (facts).
    """

    place: int
    blocks: Callable[[Manifest, Summary], Iterable[Block]]


def section_blocks(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    """Yield the blocks of every installed section.

    A section of another package that cannot be loaded or fails is named in the report, which stands without it.
    """
    for entry, section in _installed():
        if isinstance(section, ReportSection) and not _foreign(entry):
            yield from section.blocks(manifest, summary)
        else:
            yield from _foreign_blocks(entry, section, manifest, summary)


def _foreign_blocks(
    entry: importlib.metadata.EntryPoint, section: object, manifest: Manifest, summary: Summary
) -> list[Block]:
    try:
        if not isinstance(section, ReportSection):
            raise TypeError(f"it is not a ReportSection: {section}")
        return list(section.blocks(manifest, summary))
    except Exception as error:  # What a foreign package raises can be anything.
        message = f"the section {entry.name} ({entry.value}) cannot be shown: {error}"
        return [Heading(f"Section {entry.name}"), Line(message, Tone.UNSURE)]


def _installed() -> list[tuple[importlib.metadata.EntryPoint, object]]:
    """Return every entry point with what it loads, or the error that loading raised, by place."""
    found = [(entry, _loaded(entry)) for entry in entries(GROUP)]
    return sorted(found, key=lambda one: (one[1].place if isinstance(one[1], ReportSection) else 100, one[0].name))


def _loaded(entry: importlib.metadata.EntryPoint) -> object:
    """Return what an entry point names, or the error that loading it from another package raised."""
    try:
        return entry.load()
    except Exception as error:
        if not _foreign(entry):
            raise
        return error


def _foreign(entry: importlib.metadata.EntryPoint) -> bool:
    return not entry.value.startswith("harness.")
