"""Prepare a run for the page: read its files once, and give it a name among the others."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from harness.measure import Times
from harness.report.comparison import Side
from harness.report.html.samples import Samples, read_samples
from harness.results import (
    Manifest,
    OrderEntry,
    ParityLine,
    ReferenceLine,
    Run,
    Summary,
)
from harness.results.schema import PairLine, RatioSummary
from harness.results.schema.profile import ProfileSummary
from harness.results.summarize import summarize_run


@dataclass(frozen=True)
class View:
    name: str
    """The name: A, B, …, Z, R27, R28, …"""
    manifest: Manifest
    summary: Summary
    samples: Sequence[Samples]
    reference: Sequence[ReferenceLine]
    parity: Sequence[ParityLine]
    items: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    """The subset and label of each item, such as language and word, by generation workload."""
    profiles: Sequence[ProfileSummary] = ()
    pairs: Sequence[PairLine] = ()
    """The pairs of both sides timed alternately; older runs have none."""

    @property
    def emulated(self) -> bool:
        return self.manifest.emulated

    @property
    def title(self) -> str:
        """Return a short title of the run for a person."""
        parts = [
            str(self.manifest.device.get("name", "?")),
            ", ".join(facts.label for facts in self.manifest.workloads.values()) or "no model",
            str(self.manifest.options.get("precision") or ""),
            "emulated" if self.emulated else "",
        ]
        return " · ".join(part for part in parts if part)

    @property
    def lines(self) -> dict[str, Sequence[BaseModel]]:
        """Return the run's small files of lines, by name."""
        found: dict[str, Sequence[BaseModel]] = {
            "parity": self.parity,
            "reference": self.reference,
            "pairs": self.pairs,
            "profiles": self.profiles,
        }
        return {name: lines for name, lines in found.items() if lines}

    def unit(self, workload: str) -> str:
        """Return the unit of a workload's samples, such as ``word``."""
        facts = self.manifest.workloads.get(workload)
        return facts.unit if facts else "item"

    @property
    def generations(self) -> list[str]:
        """Return the names of the generation workloads."""
        return list(self.manifest.alike)

    def samples_of(self, workload: str) -> list[Samples]:
        return [samples for samples in self.samples if samples.workload == workload]

    def label(self, workload: str, item: str) -> str:
        """Return a person's name for an item."""
        return " ".join(self.items.get(workload, {}).get(item, (item,)))

    def item_times(self, workload: str) -> dict[str, NDArray[np.int64]]:
        """Return the timed samples of a workload by item."""
        return {
            samples.items[place]: times
            for samples in self.samples_of(workload)
            for place, times in samples.by_item.items()
        }

    def turns(self, workload: str) -> dict[str, list[PairLine]]:
        """Return the turns of both sides by item."""
        found: dict[str, list[PairLine]] = {}
        for pair in self.pairs:
            if pair.workload == workload:
                found.setdefault(pair.item, []).append(pair)
        return found

    def pytorch_times(self, workload: str) -> dict[str, list[int]]:
        """Return PyTorch's times by item: from the turns, or from a separate session in older runs."""
        if turns := self.turns(workload):
            return {item: [time for pair in pairs for time in pair.pytorch_ns] for item, pairs in turns.items()}
        lines = (line for line in self.reference if line.workload == workload)
        return {line.item: line.latency_ns for line in lines if line.latency_ns}

    def ratio(self, workload: str) -> RatioSummary | None:
        """Return a workload's ratio to PyTorch's time, or None."""
        found = self.summary.workloads.get(workload)
        return found.ratio if found else None

    @property
    def latency_orders(self) -> list[OrderEntry]:
        return [order for order in self.manifest.orders if order.purpose == "latency"]

    @cached_property
    def side(self) -> Side:
        """Return the side for the comparison on the terminal; an emulated run has no samples in it."""
        samples = {} if self.emulated else {name: self._by_label(name) for name in self.generations}
        return Side(self.manifest, self.summary, samples, self.name)

    def _by_label(self, workload: str) -> dict[tuple[str, str], Times]:
        """Return the timed samples by subset and label; an item that several variants timed has all samples."""
        by_label: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        known = self.items.get(workload, {})
        for samples in self.samples_of(workload):
            for place, times in samples.by_item.items():
                if (label := known.get(samples.items[place])) is not None:
                    by_label.setdefault(label, []).append(times)
        return {label: np.concatenate(times) for label, times in by_label.items()}


def article(unit: str) -> str:
    """Return the unit with its article: ``a word``, ``an item``."""
    return f"{'an' if unit[:1] in 'aeiou' else 'a'} {unit}"


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
        items={
            name: {line.item: (line.subset, line.label) for line in reference if line.workload == name}
            for name in manifest.alike
        },
        profiles=run.profiles(),
        pairs=list(run.pairs()),
    )


def pytorch_times(views: Sequence[View], model: str) -> list[tuple[list[str], Mapping[str, Sequence[int]]]]:
    """Return PyTorch's times by item on each machine; runs with the same measurement share it."""
    found: list[tuple[list[str], Mapping[str, Sequence[int]]]] = []
    for view in views:
        times = {} if view.emulated else view.pytorch_times(model)
        sharing = next((names for names, known in found if known == times), None)
        if sharing is not None:
            sharing.append(view.name)
        elif times:
            found.append(([view.name], times))
    return found


def how_timed(views: Sequence[View], model: str) -> str:
    """Return a note about how both sides were timed, for a picture that contains PyTorch."""
    known = [view for view in views if not view.emulated and view.pytorch_times(model)]
    apart = [view.name for view in known if not view.turns(model)]
    note = ""
    unit = next((view.unit(model) for view in known), "item")
    if len(apart) < len(known) and any(model in view.generations for view in known):
        counts = ", ".join(f"{view.name} {len(turns)}" for view in known if (turns := view.turns(model)))
        note = f" Interleaved: the {unit}s that both sides ran one after the other ({counts}); compare only these."
    for view in known:
        found = view.ratio(model)
        if found and found.busy:
            note += f" While {view.name} was timed with PyTorch, {found.busy}."
    if apart:
        note += f" In {', '.join(apart)} PyTorch was timed apart, maybe in another hour of the machine."
    return note
