"""Declare the subject of an explanation: a failed item of a run, how to run it again, and PyTorch's request for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from harness.compiler import Archive
from harness.compiler.observe.provenance import Provenance
from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress
from harness.devices import RunResult
from harness.protocol.schema import WorkOrder
from harness.results import Run
from harness.run.builder import RunOptions, TracingBuilder


class NothingToExplain(UsageError):
    """Nothing of the run failed, or the named item is not in it."""

    cure = "name any item with --item to see its kernels beside PyTorch; `harness show` lists what failed"


class CannotExplain(HarnessError):
    """The run cannot be made again."""

    cure = "make a new run and explain that one"


class Chosen(Protocol):
    """An item of a run that is to be explained."""

    def subject(self, run: Run, options: RunOptions, builder: TracingBuilder, progress: Progress) -> Subject:
        """Return it with its model. Raises CannotExplain where the model is not the run's any more, NothingToExplain,
        and what finding the model raises."""
        ...


class Subject(Protocol):
    """Hold an item and its model, ready to be compiled and run."""

    @property
    def label(self) -> str:
        """Return a person's name for the model."""
        ...

    @property
    def title(self) -> str:
        """Return a person's name for the item."""
        ...

    @property
    def weights_sha256(self) -> str: ...

    def archive(self, options: RunOptions, say: Progress) -> Archive:
        """Return the archive with taps, for the options' target."""
        ...

    def order(self, archive: Archive, provenance: Provenance) -> WorkOrder:
        """Return an order of the run's items up to this one, with taps for this item's kernels."""
        ...

    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        """Return the request for ``harness.explain.worker``, and write its files into ``folder``."""
        ...

    def fed(self, result: RunResult) -> list[int]:
        """Return the tokens that were fed to the decoder, without the start token; empty without a decoder."""
        ...

    def facts(self, result: RunResult) -> dict[str, Any]:
        """Return the item's own fields of the explanation."""
        ...
