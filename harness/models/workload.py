"""Declare a workload: one model, the items it runs on, PyTorch's answers, and how the runner's answers are judged.

A workload is everything that the harness needs of a model. Compiler, run, explanation and report use models only in
this way. ``docs/contributing/workload.md`` shows how to add a kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from harness.core.progress import Progress
from harness.protocol.schema import AnyRecord, Kind, Precision, RecordOptions, WorkItem
from harness.validate import ItemParity
from harness.validate.comparison import ComparisonRule

Answer = TypeVar("Answer")
TOKENIZER_SUFFIX = ".tokenizer.json"
"""The end of the name of a tokenizer's file next to an archive. The rest is the model's name. ``rust/mobile/build.rs``
puts these files into an app's library."""


@dataclass(frozen=True)
class Compilable:
    """Describe to the compiler where a model's functions come from, and what accompanies them in an archive.

    ``load`` is ``module:function``. A worker process calls it with ``request``, the precision and a progress callback,
    and it returns :class:`harness.models.functions.ModelFunctions`.
    """

    name: str
    """The workload's name in orders."""
    kind: Kind
    prefix: str
    """What all its symbols begin with."""
    functions: tuple[str, ...]
    """The functions' names; empty for a single function, whose prefix is the model's own."""
    load: str
    request: Mapping[str, Any]
    identity: Mapping[str, Any]
    """What the archive's bytes depend on besides the compiler, for the cache's key."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The model's fields of the metadata (docs/metadata.md)."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files that accompany the archive, by their names there. What they contain is a part of ``metadata`` or
    ``identity``."""
    keep_wide: Sequence[str] = ()
    """Patterns of its layers that are stored one precision wider."""
    precisions: Sequence[Precision] = ("fp32", "fp16", "int8")
    """The precisions in which it can be compiled."""

    @property
    def prefixes(self) -> dict[str, str]:
        """Return the prefix of each function."""
        return {name: f"{self.prefix}{name}_" for name in self.functions} or {self.name: self.prefix}


@dataclass(frozen=True)
class TimedModel:
    """Describe a model to PyTorch's timing process, which loads it once.

    ``load`` is ``module:function``. The process calls it with ``request``, and it returns a function that makes an
    item's :class:`harness.models.timing_worker.Call`.
    """

    name: str
    load: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Expected(Generic[Answer]):
    """Hold PyTorch's answers by item, and facts about how they were made, such as versions."""

    answers: Mapping[str, Answer]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Workload(ABC, Generic[Answer]):
    """Hold one model with its items. ``Answer`` is the type of an item's answer."""

    kind: ClassVar[Kind]
    """How the runner runs it."""
    variants: ClassVar[tuple[str, ...]] = ()
    """The forms in which it can be compiled, the usual one first; empty if there is one form only."""
    unit: ClassVar[str] = "item"
    """A person's word for an item."""
    smoke_items: ClassVar[int] = 1
    """How many items show that it runs at all."""
    probe: ClassVar[RecordOptions] = RecordOptions()
    """What the parity order records."""
    alike: ClassVar[bool] = False
    """Whether its items are so alike that their times have one distribution, as words are. Times of different items are
    never pooled."""
    own_rule: ClassVar[bool] = True
    """Whether its ``comparison`` judges each item. Otherwise the run's tolerance policy judges all items together."""
    keeps_hashes: ClassVar[bool] = False
    """Whether timed passes keep only hashes of the answers; then the parity order's probe has the answers."""

    labelled: ClassVar[bool] = False
    """Whether a list of runs shows the model's label, as where checkpoints have one name. Otherwise names differ."""
    named_alone: ClassVar[bool] = False
    """Whether an item's id is shown and given without the model's name, as a word's is. Otherwise it is MODEL/ITEM."""
    explained_by: ClassVar[str]
    """``module:class`` of what ``harness explain`` makes of an item: a :class:`harness.explain.subject.Subject`."""

    name: str
    """Its name in orders and results."""
    source: str
    """Its name in ``--models``; several workloads may come from one source."""
    label: str
    """A person's name for the model."""
    weights_sha256: str
    parameters: int | None = None
    batch_size: int = 1
    """How many items a call runs."""
    items: Sequence[WorkItem]
    items_of: int | None = None
    """How many items there are if only a sample of them is run."""
    items_source: str | None = None
    """``shipped``, or the file's name; None if the model brings its items."""
    items_sha256: str | None = None
    compare_as: str
    """A person's description of how answers are judged."""
    comparison: ComparisonRule | None = None

    def check(self) -> None:
        """Raise UsageError if the items cannot be run on the model."""

    @abstractmethod
    def compilable(self, variant: str) -> Compilable:
        """Return what the compiler takes of the model; ``variant`` is one of ``variants``, or ignored without any."""

    @abstractmethod
    def spread(self) -> list[int]:
        """Return the items' numbers in such an order that every prefix is spread over kinds and sizes of items."""

    @abstractmethod
    def expected(self, progress: Progress) -> Expected[Answer]:
        """Return PyTorch's answers, from the cache or made now. Raises what a worker raises."""

    @abstractmethod
    def stored(self, item: WorkItem, answer: Answer) -> dict[str, Any]:
        """Return the fields of PyTorch's answer that a run keeps (ReferenceLine in docs/results.md)."""

    @abstractmethod
    def compare(
        self,
        items: Sequence[WorkItem],
        answers: Mapping[str, Answer],
        probed: Sequence[AnyRecord],
        timed: Sequence[AnyRecord] | None = None,
    ) -> list[ItemParity]:
        """Compare the runner's answers with PyTorch's; return one row for each item.

        ``probed`` are the parity order's records, where the workload ``keeps_hashes`` or ``timed`` is None. ``timed``
        are the records of timed passes; None compares the parity order. An item without records is ``missing``.
        """

    def compared_items(self, _answers: Mapping[str, Answer]) -> Sequence[WorkItem]:
        """Return the items in the form in which the parity order runs them, with PyTorch's answers at hand."""
        return self.items

    @abstractmethod
    def timed_model(self) -> TimedModel:
        """Return what PyTorch's timing process loads."""

    def timed_item(self, item: WorkItem) -> dict[str, Any]:
        """Return the request for the timing process; it has the item's id under ``item``."""
        return {"item": item.id}

    @abstractmethod
    def departure(self, item: WorkItem, expected: Answer, found: Mapping[str, Any]) -> str | None:
        """Return how the timing process's answer differs from the one used for comparison; None if it does not."""

    def weight_files(self) -> Sequence[Path]:
        """Return the files of the weights if they are a user's own and can be given with ``--checkpoint``."""
        return ()

    def title(self, items: str) -> str:
        """Return a person's name for an item's id, or for the ids of a batch, separated by spaces."""
        names = self._titles
        return names[items] if items in names else ", ".join(names[item] for item in items.split())

    @cached_property
    def _titles(self) -> dict[str, str]:
        return {item.id: f"{item.subset} {item.label}".strip() if item.label else item.id for item in self.items}

    @property
    def subsets(self) -> list[str]:
        """Return the parts of the data that the items belong to, such as languages."""
        return sorted({item.subset for item in self.items if item.subset})
