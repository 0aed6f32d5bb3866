"""A run as the page needs it: its files read once, with the name it has among the others."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from harness.models.sources import G2P
from harness.report.comparison import Side
from harness.report.html.samples import Samples, read_samples
from harness.results import (
    Manifest,
    ModelParityLine,
    ModelReferenceLine,
    OrderEntry,
    ParityLine,
    ReferenceLine,
    Run,
    Summary,
)
from harness.results.profile_schema import ProfileSummary
from harness.results.schema import PairLine, RatioSummary
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
    model_parity: Sequence[ModelParityLine] = ()
    model_reference: Sequence[ModelReferenceLine] = ()
    pairs: Sequence[PairLine] = ()
    """Both sides timed in turns; none in runs of before that was done."""

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
    def lines(self) -> dict[str, Sequence[BaseModel]]:
        """The small files of lines that the run has, by name."""
        found: dict[str, Sequence[BaseModel]] = {
            "parity": self.parity,
            "reference": self.reference,
            "model_parity": self.model_parity,
            "model_reference": self.model_reference,
            "pairs": self.pairs,
            "profiles": self.profiles,
        }
        return {name: lines for name, lines in found.items() if lines}

    def unit(self, timed: str) -> str:
        """What a sample of a variant of G2P, or of a model of tensors, is of."""
        return "item" if timed in self.manifest.models else "word"

    @property
    def word_samples(self) -> list[Samples]:
        """Of G2P alone."""
        return [samples for samples in self.samples if self.unit(samples.variant) == "word"]

    def item_times(self, model: str) -> dict[str, NDArray[np.int64]]:
        """The timed samples of a model of tensors by item."""
        return {
            samples.items[place]: times
            for samples in self.samples
            if samples.variant == model
            for place, times in samples.by_item.items()
        }

    def turns(self, model: str) -> dict[str, list[PairLine]]:
        """Of ``g2p`` or a model of tensors: the turns of both sides by item."""
        found: dict[str, list[PairLine]] = {}
        for pair in self.pairs:
            if pair.model == model:
                found.setdefault(pair.item, []).append(pair)
        return found

    def pytorch_times(self, model: str) -> dict[str, list[int]]:
        """PyTorch's times by item: of the turns, or of a sitting of its own in runs of before there were any."""
        if turns := self.turns(model):
            return {item: [time for pair in pairs for time in pair.pytorch_ns] for item, pairs in turns.items()}
        if model == G2P:
            return {line.item: line.latency_ns for line in self.reference if line.latency_ns}
        return {line.item: line.latency_ns for line in self.model_reference if line.model == model and line.latency_ns}

    def ratio(self, model: str) -> RatioSummary | None:
        """To PyTorch's time."""
        found = self.summary.models.get(model)
        return self.summary.ratio if model == G2P else found.ratio if found else None

    @property
    def latency_orders(self) -> list[OrderEntry]:
        return [order for order in self.manifest.orders if order.purpose == "latency"]

    @cached_property
    def side(self) -> Side:
        """For the comparison that the terminal shows too; an emulator's times are compared with nothing."""
        by_word: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        for samples in () if self.emulated else self.word_samples:
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
        model_parity=list(run.model_parity()),
        model_reference=list(run.model_reference()),
        pairs=list(run.pairs()),
    )


def pytorch_times(views: Sequence[View], model: str) -> list[tuple[list[str], Mapping[str, Sequence[int]]]]:
    """PyTorch's times by item on each machine; runs that took them from one measurement share it."""
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
    """For the note of a picture with PyTorch in it: how both sides were timed."""
    known = [view for view in views if not view.emulated and view.pytorch_times(model)]
    apart = [view.name for view in known if not view.turns(model)]
    told = ""
    if len(apart) < len(known) and model == G2P:
        counts = ", ".join(f"{view.name} {len(turns)}" for view in known if (turns := view.turns(model)))
        told = f" In turns: the words that both sides ran one behind the other ({counts}); set only these side by side."
    for view in known:
        found = view.ratio(model)
        if found and found.busy:
            told += f" While {view.name} was timed beside PyTorch, {found.busy}."
    if apart:
        told += f" In {', '.join(apart)} PyTorch was timed apart, maybe in another hour of the machine."
    return told
