"""Run one workload of a run: smoke, parity, timed passes, turns with PyTorch. Every kind of model runs alike."""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.devices import AnyRecord, RunResult
from harness.models.workload import Expected, Workload
from harness.native import Runner
from harness.protocol.schema import RecordOptions, WorkItem, WorkOrder
from harness.results import ParityLine, ReferenceLine, WorkloadFacts
from harness.results.schema import Passes
from harness.run.context import RunContext
from harness.run.orders import Purpose
from harness.run.turns import MOST_ITEMS, PairItem, Subject
from harness.validate import Verdict

UNLIKE_ITSELF = (Verdict.UNSTABLE, Verdict.NO_ANSWER)
"""A lossy precision may diverge from PyTorch, but not from itself: timed answers must equal the compared ones."""


@dataclass(frozen=True)
class TimedPasses:
    """Hold the timed passes of a workload: nanoseconds by item (or batch), and the comparisons of their answers."""

    result: RunResult
    samples: dict[str, list[int]]
    parity: list[ParityLine]


def reference_lines(workload: Workload[Any], expected: Expected[Any]) -> list[ReferenceLine]:
    """Return PyTorch's answers to a workload's items as they are stored."""
    return [
        ReferenceLine(
            workload=workload.name,
            item=item.id,
            subset=item.subset,
            label=item.label or item.id,
            **workload.stored(item, expected.answers[item.id]),
        )
        for item in workload.items
    ]


class WorkloadRun:
    """Run one workload. Its steps are done once (:class:`harness.run.context.RunContext`).

    A workload with variants may be compared in each of them; it is timed in the one that the options choose.
    """

    def __init__(self, context: RunContext, workload: Workload[Any]) -> None:
        self._context, self.workload = context, workload
        self.name, self.source = workload.name, workload.source

    def facts(self) -> WorkloadFacts:
        """Return the workload's facts for the manifest."""
        one = self.workload
        return WorkloadFacts(
            kind=one.kind,
            source=one.source,
            label=one.label,
            weights_sha256=one.weights_sha256,
            parameters=one.parameters,
            items=len(one.items),
            unit=one.unit,
            items_of=one.items_of,
            items_source=one.items_source,
            items_sha256=one.items_sha256,
            subsets=one.subsets,
            compare=one.compare_as,
            comparison=one.comparison,
        )

    def variant(self, wanted: str | None = None) -> str:
        """Return the variant that is wanted, or else timed; empty for a workload without variants."""
        return (wanted or self._context.options.variant) if self.workload.variants else ""

    @property
    def compared_as(self) -> str:
        """Return the name of its orders and comparisons: the variant, or the workload that has none."""
        return self.variant() or self.name

    def expected(self) -> Expected[Any]:
        """Return PyTorch's answers, and keep them in the run's files."""
        return self._context.once(f"expected {self.name}", self._expected)

    def smoke(self, variant: str | None = None) -> RunResult:
        """Run the first few items once."""
        chosen = self.variant(variant)
        items = self.workload.items[: self.workload.smoke_items]
        key = f"smoke {self.name} {chosen}"
        return self._context.once(key, lambda: self._ask("smoke", chosen, items, warmup=0, repetitions=1))

    def parity(self, variant: str | None = None) -> list[ParityLine]:
        """Run every item once; return a comparison for each, ``missing`` if an incomplete run did not reach it."""
        chosen = self.variant(variant)
        return self._context.once(f"parity {self.name} {chosen}", lambda: self._parity(chosen))

    def times(self) -> TimedPasses:
        """Run the timed passes; an incomplete result holds what was measured."""
        return self._context.once(f"latency {self.name}", self._times)

    @property
    def exact(self) -> bool:
        """Return whether no item may fail; otherwise the run's tolerance policy judges all items together."""
        return self.workload.own_rule or self._context.options.policy.exact

    def shortcomings(self, lines: Sequence[ParityLine]) -> list[str]:
        """Return why the lines of one comparison are not good enough; empty if they are."""
        from harness.results.summarize import accuracies, expected_accuracies, parity_summary, shortcomings

        found = parity_summary(lines)
        if self.workload.own_rule:
            return found.failures
        # The timed passes repeat the answers of a comparison that is judged by its accuracy already.
        scored = [line for line in lines if line.passes == "parity"]
        expected = expected_accuracies(self.reference_lines()) if scored else {}
        return shortcomings(self._context.options.policy, found, accuracies(self.reference_lines(), scored), expected)

    def passes(self, purpose: Purpose, *, warmup: int, repetitions: int, runner: Runner) -> RunResult:
        """Run passes of a runner over all timed items."""
        items = self._timed_items()
        return self._ask(purpose, self.variant(), items, warmup=warmup, repetitions=repetitions, runner=runner)

    def subject(self) -> Subject:
        """Return the items that are timed alternately with PyTorch, a spread sample."""
        times, runner = self.times(), self._runner(self.variant())
        times.result.require_complete()
        usual = statistics.median(taken[0] for taken in times.samples.values()) if times.samples else 0.0
        items = [self.workload.items[at] for at in self.workload.spread()[:MOST_ITEMS]]
        pairs = [self._pair_item(item, times.samples.get(item.id, [usual]), runner) for item in items]
        return Subject(self.name, pairs, len(self.workload.items), runner)

    def order(
        self,
        purpose: str,
        variant: str,
        runner: Runner,
        items: Sequence[WorkItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None = None,
    ) -> WorkOrder:
        """Return an order of these items."""
        described = runner.archive.metadata.workload(self.name, self.workload.kind)
        assert described is not None, "the archive was compiled with this workload"
        return WorkOrder(
            order_id=f"{purpose}-{variant or self.name}-{secrets.token_hex(4)}",
            archive_sha256=runner.archive.sha256,
            workloads=[described],
            items=list(items),
            warmup=warmup,
            repetitions=repetitions,
            threads=self._context.options.threads,
            probe=probe,
        )

    def _runner(self, variant: str) -> Runner:
        return self._context.runner(variant or self._context.options.variant)

    def _expected(self) -> Expected[Any]:
        with self._context.stage(f"asking PyTorch about {self.name}") as stage:
            found = self.workload.expected(stage.describe)
        writer = self._context.writer
        if found.facts:
            writer.update(reference=dict(found.facts))
        writer.reference(reference_lines(self.workload, found))
        return found

    def reference_lines(self) -> list[ReferenceLine]:
        """Return PyTorch's answers as they are stored."""
        return reference_lines(self.workload, self.expected())

    def _parity(self, variant: str) -> list[ParityLine]:
        self.expected()
        return self._compare(variant, "parity", self.workload.items, self._probed(variant))

    def _probed(self, variant: str) -> Sequence[AnyRecord]:
        """Return the records of the parity order."""

        def ask() -> Sequence[AnyRecord]:
            probe, items = self.workload.probe, self.workload.compared_items(self.expected().answers)
            return self._ask("parity", variant, items, warmup=0, repetitions=0, probe=probe).records

        return self._context.once(f"probed {self.name} {variant}", ask)

    def _times(self) -> TimedPasses:
        from harness.results.summarize import timed

        variant, options = self.variant(), self._context.options
        if self.workload.keeps_hashes:
            self.parity()
        self.expected()
        self._context.quiet()
        items = self._timed_items()
        result = self._ask("latency", variant, items, warmup=options.warmup, repetitions=options.repeat)
        return TimedPasses(result, timed(result.records), self._compare(variant, "timed", items, (), result.records))

    def _timed_items(self) -> list[WorkItem]:
        chosen = sorted(self.workload.spread()[: self._context.options.timed_items])
        return [self.workload.items[at] for at in chosen]

    def _compare(
        self,
        variant: str,
        passes: Passes,
        items: Sequence[WorkItem],
        probed: Sequence[AnyRecord],
        timed: Sequence[AnyRecord] | None = None,
        *,
        keep: tuple[Verdict, ...] = tuple(Verdict),
    ) -> list[ParityLine]:
        """Compare these items with PyTorch; keep and return the lines with one of these verdicts."""
        if self.workload.keeps_hashes and timed is not None:
            probed = self._probed(variant)
        rows = self.workload.compare(items, self.expected().answers, probed, timed)
        lines = [ParityLine(**row.model_dump(), variant=variant, passes=passes) for row in rows if row.verdict in keep]
        if lines:
            self._context.writer.parity(lines)
        return lines

    def _ask(
        self,
        purpose: Purpose,
        variant: str,
        items: Sequence[WorkItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None = None,
        runner: Runner | None = None,
    ) -> RunResult:
        """Run one order; ``runner`` replaces the variant's own."""
        runner = runner or self._runner(variant)
        order = self.order(purpose, variant, runner, items, warmup=warmup, repetitions=repetitions, probe=probe)
        calls = -(-len(items) // self.workload.batch_size) * (warmup + repetitions + (probe is not None))
        return self._context.orders.run(purpose, self.name, variant, runner, order, calls)

    def _pair_item(self, item: WorkItem, taken: Sequence[float], runner: Runner) -> PairItem:
        variant, workload = self.variant(), self.workload
        timed = [record for record in self.times().result.records if item.id in getattr(record, "items", ())]

        def departs(answer: dict[str, Any]) -> str | None:
            return workload.departure(item, self.expected().answers[item.id], answer)

        def wrong(records: Sequence[AnyRecord]) -> str | None:
            lines = self._compare(variant, "paired", [item], (), [*timed, *records], keep=UNLIKE_ITSELF)
            return lines[0].describe() if lines else None

        def order(warmup: int, repetitions: int) -> WorkOrder:
            return self.order("pairs", variant, runner, [item], warmup=warmup, repetitions=repetitions)

        return PairItem(item.id, workload.timed_item(item), statistics.median(taken), order, departs, wrong)
