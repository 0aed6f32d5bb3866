"""Both sides of one model timed in turns: the runner, PyTorch, then the other way round, item by item.

The reasons for every choice in here stand in ``docs/measuring.md``, under "Beside PyTorch".
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
from harness.results.pair_schema import INTERRUPTED

WARM_NS, TIMED_NS = 10_000_000, 5_000_000
"""Each side runs an item untimed for so long at least, then timed for so long at least, in every round."""
MOST_WARM, MOST_TIMED = 200, 20
"""Calls of either kind in one round, however short they are."""
MOST_ITEMS = 13
"""Of a sample: one word of each shipped language."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 20


@dataclass(frozen=True)
class PairItem:
    """An item of a model, and how each side is asked for it."""

    item: str
    asked: dict[str, Any]
    """What PyTorch's process is told of it."""
    typical_ns: float
    """What it takes on the runner's side, from the run's timed passes."""
    order: Callable[[int, int], WorkOrder]
    """Of so many untimed and so many timed passes."""
    departs: Callable[[dict[str, Any]], str | None]
    """Why PyTorch's answer is not the one that the runner is compared with."""
    wrong: Callable[[Sequence[AnyRecord]], str | None]
    """How the runner answered otherwise in these records than when it was compared."""


@dataclass(frozen=True)
class Subject:
    """A model to be timed on both sides: its sample in the order in which it is taken, of the ``of`` items it has."""

    model: str
    items: list[PairItem]
    of: int
    runner: Runner


@dataclass
class Turns:
    """One model's turns, which are taken once, by :meth:`take`."""

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
        """Rounds until the time is used up; every pair and what is known of the whole is kept, whatever ends it.

        Raises WorkerFailed, WorkerError, IncompleteResult, and what a device raises, with the reason kept.
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
                    self.stage.say(f"round {rounds + 1}, {at + 1} of {len(self._used)}")
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
        """Takes as many items as leave the time for the least number of rounds; returns the rounds that are whole."""
        for at, item in enumerate(self.subject.items):
            if self._used and time.monotonic() - began > self.seconds / LEAST_ROUNDS:
                break
            self.stage.say(f"round 1, {at + 1} of up to {len(self.subject.items)}")
            departs = item.departs(self.pytorch.answer(self.subject.model, item.asked, self.stage.say))
            if departs is not None:
                self._differing[item.item] = departs
                continue
            self._used.append(item)
            self._pair(item, at, 0)
        return 1

    def _has_time(self, began: float, rounds: int) -> bool:
        """Whether one more round like those before ends in time."""
        return rounds < LEAST_ROUNDS or (time.monotonic() - began) * (rounds + 1) / rounds <= self.seconds

    def _pair(self, item: PairItem, at: int, number: int) -> None:
        """One item on both sides. Which comes first alternates from item to item and from round to round."""
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
        """A fresh process of the runner; None if it answered wrongly, and the item is left out from now on."""
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
