"""What is explained: an item of a run that failed, how it is run again, and what PyTorch needs to know of it."""

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
    """Nothing of the run failed, or what was named is not in it."""

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
    """An item with the model that it is of, ready to be compiled and run."""

    @property
    def label(self) -> str:
        """The model, for a person."""
        ...

    @property
    def title(self) -> str:
        """The item, for a person."""
        ...

    @property
    def weights_sha256(self) -> str: ...

    def archive(self, options: RunOptions, say: Progress) -> Archive:
        """With taps, for the options' target."""
        ...

    def order(self, archive: Archive, provenance: Provenance) -> WorkOrder:
        """The run's items up to this one, whose kernels give away what they compute."""
        ...

    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        """What ``harness.explain.worker`` is asked for; files that belong to it go into ``folder``."""
        ...

    def fed(self, result: RunResult) -> list[int]:
        """The tokens that the decoder was fed, without the start token; empty where there is none."""
        ...

    def facts(self, result: RunResult) -> dict[str, Any]:
        """The item's own fields of the explanation."""
        ...
