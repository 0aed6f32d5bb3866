"""Time both sides of one model alternately: the runner, PyTorch, then the other way round, item by item.

``docs/measuring.md`` explains the reasons for every choice here, under "Compared with PyTorch".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.errors import HarnessError
from harness.core.progress import ProgressStage
from harness.devices import AnyRecord, Device
from harness.devices.bystanders import Bystanders
from harness.models.timing import TimedPyTorch
from harness.native import Runner
from harness.protocol.schema import Phase, Sample, WorkOrder
from harness.results import PairingFacts, PairLine, now
from harness.results.schema.pairs import INTERRUPTED

WARM_NS, TIMED_NS = 10_000_000, 5_000_000
"""In every round each side runs an item untimed for at least the first time, then timed for at least the second."""
MOST_WARM, MOST_TIMED = 200, 20
"""The most calls of either kind in one round, however short they are."""
MOST_ITEMS = 13
"""The most items in a sample: one word of each shipped language."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 20


@dataclass(frozen=True)
class PairItem:
    """Describe an item of a model and how each side runs it."""

    item: str
    asked: dict[str, Any]
    """The request for PyTorch's process."""
    typical_ns: float
    """Its typical time on the runner's side, from the run's timed passes."""
    order: Callable[[int, int], WorkOrder]
    """Makes the work order with so many untimed and so many timed passes."""
    departs: Callable[[dict[str, Any]], str | None]
    """Returns how PyTorch's answer differs from the one that the runner is compared with, or None."""
    wrong: Callable[[Sequence[AnyRecord]], str | None]
    """Returns how the runner's answers in these records differ from those of its comparison, or None."""


@dataclass(frozen=True)
class Subject:
    """Describe a model to be timed on both sides: a sample of its ``of`` items, in the order of timing."""

    model: str
    items: list[PairItem]
    of: int
    runner: Runner


@dataclass
class Turns:
    """Take one model's turns; call :meth:`take` once."""

    subject: Subject
    device: Device
    pytorch: TimedPyTorch
    keep: Callable[[PairLine], None]
    seconds: float
    deadline: float
    threads: int
    stage: ProgressStage
    _used: list[PairItem] = field(default_factory=list)
    _differing: dict[str, str] = field(default_factory=dict)
    _wrong: dict[str, str] = field(default_factory=dict)

    def take(self, keep_facts: Callable[[PairingFacts], None]) -> PairingFacts:
        """Time rounds until the time is used up. Every pair and the facts of the whole are kept, whatever ends it.

        Raises WorkerFailed, WorkerError, IncompleteResult, and what a device raises; the reason is kept.
        """
        load = self.device.conditions().get("load_1min")
        facts = PairingFacts(started=now(), items=0, of=self.subject.of, threads=self.threads, load_1min=load)
        bystanders, began, cpu = Bystanders(), time.monotonic(), self.pytorch.cpu_ns()
        rounds = 0
        reason: str | None = INTERRUPTED
        try:
            rounds = self._first_round(began)
            while self._used and rounds < MOST_ROUNDS and self._has_time(began, rounds):
                for at, item in enumerate(list(self._used)):
                    self.stage.describe(f"round {rounds + 1}, {at + 1} of {len(self._used)}")
                    self._pair(item, at, rounds)
                rounds += 1
            reason = None if self._used else "no item was answered as it was before"
        except HarnessError as error:
            reason = str(error).splitlines()[0]
            raise
        finally:
            seen = bystanders.seen((self.pytorch.cpu_ns() - cpu) / 1e9)
            facts = facts.model_copy(
                update={
                    "items": len(self._used),
                    "rounds": rounds,
                    "seconds": round(time.monotonic() - began, 3),
                    "torch_version": self.pytorch.version,
                    "differing": self._differing,
                    "wrong": self._wrong,
                    "reason": reason,
                    **vars(seen),
                }
            )
            keep_facts(facts)
        return facts

    def _first_round(self, began: float) -> int:
        """Time as many items as leave time for the least number of rounds; return the number of whole rounds."""
        for at, item in enumerate(self.subject.items):
            if self._used and time.monotonic() - began > self.seconds / LEAST_ROUNDS:
                break
            self.stage.describe(f"round 1, {at + 1} of up to {len(self.subject.items)}")
            departs = item.departs(self.pytorch.answer(self.subject.model, item.asked, self.stage.describe))
            if departs is not None:
                self._differing[item.item] = departs
                continue
            self._used.append(item)
            self._pair(item, at, 0)
        return 1

    def _has_time(self, began: float, rounds: int) -> bool:
        """Return whether one more round like those before ends in time."""
        return rounds < LEAST_ROUNDS or (time.monotonic() - began) * (rounds + 1) / rounds <= self.seconds

    def _pair(self, item: PairItem, at: int, number: int) -> None:
        """Time one item on both sides. The first side alternates from item to item and from round to round."""
        first: Literal["artifact", "pytorch"] = "artifact" if (at + number) % 2 == 0 else "pytorch"
        if first == "artifact":
            ours = self._ours(item)
            theirs = self._theirs(item)
        else:
            theirs = self._theirs(item)
            ours = self._ours(item)
        if ours is None:
            self._used.remove(item)
            return
        self.keep(
            PairLine(
                workload=self.subject.model,
                item=item.item,
                round=number,
                first=first,
                artifact_ns=ours,
                pytorch_ns=theirs,
            )
        )

    def _theirs(self, item: PairItem) -> list[int]:
        return self.pytorch.time(self.subject.model, item.asked, warm_ns=WARM_NS, timed_ns=TIMED_NS, most=MOST_TIMED)

    def _ours(self, item: PairItem) -> list[int] | None:
        """Time an item in a fresh process of the runner, in nanoseconds.
        Returns None if the runner answered wrongly; the item is left out from then on.
        """
        order = item.order(_passes(WARM_NS, item.typical_ns, MOST_WARM), _passes(TIMED_NS, item.typical_ns, MOST_TIMED))
        result = self.device.run(self.subject.runner.path, order, deadline=self.deadline).require_complete()
        wrong = item.wrong(result.records)
        if wrong is not None:
            self._wrong[item.item] = wrong
            return None
        return [
            record.total_ns for record in result.records if isinstance(record, Sample) and record.phase is Phase.TIMED
        ]


def _passes(wanted_ns: int, typical_ns: float, most: int) -> int:
    return max(1, min(most, math.ceil(wanted_ns / max(1.0, typical_ns))))
