"""A run as the page needs it: its files read once, with the name it has among the others."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.profiling.schema import ProfileSummary
from harness.report.comparison import Side
from harness.report.html.samples import Samples, read_samples
from harness.results import Manifest, OrderEntry, ParityLine, ReferenceLine, Run, Summary
from harness.results.summarize import summarize_run


@dataclass(frozen=True)
class View:
    name: str
    """A, B, …, Z, R27, R28, …"""
    manifest: Manifest
    summary: Summary
    samples: Sequence[Samples]
    reference: Sequence[ReferenceLine]
    parity: Sequence[ParityLine]
    words: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Language and word by item."""
    profiles: Sequence[ProfileSummary] = ()

    @property
    def emulated(self) -> bool:
        return self.manifest.emulated

    @property
    def title(self) -> str:
        """The run in a few words: what a person would call it."""
        checkpoint = self.manifest.checkpoint
        parts = [
            str(self.manifest.device.get("name", "?")),
            ", ".join([*([checkpoint.label] if checkpoint else []), *self.manifest.models]) or "no model",
            str(self.manifest.options.get("precision") or ""),
            "emulated" if self.emulated else "",
        ]
        return " · ".join(part for part in parts if part)

    @property
    def latency_orders(self) -> list[OrderEntry]:
        return [order for order in self.manifest.orders if order.purpose == "latency"]

    @cached_property
    def side(self) -> Side:
        """For the comparison that the terminal shows too; an emulator's times are compared with nothing."""
        by_word: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        for samples in () if self.emulated else self.samples:
            for item, times in samples.by_item.items():
                word = self.words.get(samples.items[item])
                if word is not None:
                    by_word.setdefault(word, []).append(times)
        joined = {word: np.concatenate(times) for word, times in by_word.items()}
        return Side(self.manifest, self.summary, joined, self.name)


def view(run: Run, at: int, *, parts: bool = True) -> View:
    """Read a run, its samples with or without their parts; raises RunDamaged."""
    manifest, reference = run.manifest(), list(run.reference())
    return View(
        name=string.ascii_uppercase[at] if at < 26 else f"R{at + 1}",
        manifest=manifest,
        summary=summarize_run(run),
        samples=read_samples(run, manifest, parts=parts),
        reference=reference,
        parity=list(run.parity()),
        words={line.item: (line.language, line.word) for line in reference},
        profiles=run.profiles(),
    )
