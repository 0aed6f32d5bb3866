"""Run the tensor workloads of one run. Each is compared and timed in orders of its own, which load nothing else."""

from __future__ import annotations

import secrets
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.devices import AnyRecord, RunResult
from harness.measure.sampling import spread_order
from harness.models.tensor.described import UserModel
from harness.models.timing import TimedModel, timed_tensors
from harness.native import Runner
from harness.protocol.schema import Probe, RecordOptions, Sample, Tensors, WorkItem, WorkOrder
from harness.protocol.tensors import Array, decode, digest, encode
from harness.results import ParityLine, ReferenceLine, WorkloadFacts
from harness.results.schema import Passes
from harness.run.builder import RunOptions
from harness.run.context import RunContext
from harness.run.kinds import WorkloadKind
from harness.run.orders import Purpose
from harness.run.turns import MOST_ITEMS, PairItem, Subject
from harness.run.workload import TimedPasses
from harness.validate import Verdict
from harness.validate.tensors import ItemParity, compare_item


class TensorRun:
    """Run a tensor workload (:class:`harness.run.workload.WorkloadRun`). ``together`` are the models of its source."""

    def __init__(self, context: RunContext, model: UserModel, together: list[UserModel]) -> None:
        self._context = context
        self._model = model
        self._together = together
        self._items: list[WorkItem] = []
        self._probed: dict[str, dict[str, Array]] = {}
        """The outputs from the parity order's probe, by item."""

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def source(self) -> str:
        return self._model.source.label

    @property
    def compared_as(self) -> str:
        return self.name

    def label(self, items: str) -> str:
        return items

    def facts(self) -> WorkloadFacts:
        """Return the workload's facts for the manifest."""
        facts = self._model.facts
        return WorkloadFacts(
            kind="tensor",
            source=self.source,
            label=self.name,
            parameters=facts.parameters,
            weights_sha256=facts.weights_sha256,
            items=len(facts.items),
            compare=facts.compare.describe(),
            comparison=facts.compare,
        )

    def smoke(self) -> RunResult:
        """Run the first item once."""
        first = self._ordered()[:1]
        return self._context.once(f"smoke {self.name}", lambda: self._ask("smoke", first, warmup=0, repetitions=1))

    def parity(self) -> list[ParityLine]:
        return self._context.once(f"parity {self.name}", self._parity)

    def times(self) -> TimedPasses[ParityLine]:
        return self._context.once(f"latency {self.name}", self._times)

    def passes(self, purpose: Purpose, *, warmup: int, repetitions: int, runner: Runner) -> RunResult:
        return self._ask(purpose, self._timed_items(), warmup=warmup, repetitions=repetitions, runner=runner)

    def _parity(self) -> list[ParityLine]:
        result = self._ask("parity", self._ordered(), warmup=0, repetitions=0, probe=RecordOptions())
        self._probed = {
            record.items[0]: decode(record.tensors)
            for record in result.records
            if isinstance(record, Probe) and record.tensors is not None
        }
        rows = [
            compare_item(self.name, item, self._model.facts.compare, expected, self._probed.get(item))
            for item, expected in self._model.expected().items()
        ]
        return self._keep("parity", rows)

    def _times(self) -> TimedPasses[ParityLine]:
        from harness.results.summarize import timed

        self.parity()
        self._context.quiet()
        options = self._context.options
        self._context.writer.reference(
            ReferenceLine(workload=self.name, item=item, label=item, output_sha256=digest(outputs))
            for item, outputs in self._model.expected().items()
        )
        items = self._timed_items()
        result = self._ask("latency", items, warmup=options.warmup, repetitions=options.repeat)
        digests: dict[str, list[str]] = defaultdict(list)
        for record in result.records:
            if isinstance(record, Sample) and record.output_sha256 is not None:
                digests[record.items[0]].append(record.output_sha256)
        rows = [self._compared(item.id, digests[item.id]) for item in items]
        return TimedPasses(result, timed(result.records), self._keep("timed", rows))

    def _compared(self, item: str, digests: list[str]) -> ItemParity:
        """Compare a pass. It keeps only the hash of its answer; the parity order's probe has the answer itself."""
        model = self._model
        probed = self._probed.get(item) if digests else None
        outputs = [one.name for one in model.facts.outputs]
        seen = [] if probed is None else [digest({out: probed[out] for out in outputs})]
        expected = model.expected()[item]
        return compare_item(self.name, item, model.facts.compare, expected, probed, digests=[*seen, *digests])

    def _timed_items(self) -> list[WorkItem]:
        return [self._ordered()[at] for at in sorted(self._spread()[: self._context.options.timed_items])]

    def _spread(self) -> list[int]:
        """Return the items' numbers in such an order that every prefix is spread over the items' sizes."""
        inputs = self._model.inputs()
        return spread_order([("", sum(array.nbytes for array in arrays.values())) for arrays in inputs.values()])

    def subject(self) -> Subject:
        times, runner = self.times(), self._context.runner(self._context.options.variant)
        times.result.require_complete()
        ordered = self._ordered()
        items = [self._pair_item(ordered[at], times.samples, runner) for at in self._spread()[:MOST_ITEMS]]
        return Subject(self.name, items, len(ordered), runner)

    def _pair_item(self, item: WorkItem, samples: Mapping[str, list[int]], runner: Runner) -> PairItem:
        name, model = self.name, self._model

        def departs(answer: dict[str, Any]) -> str | None:
            said = decode(Tensors.model_validate(answer["tensors"]))
            row = compare_item(name, item.id, model.facts.compare, model.expected()[item.id], said)
            return f"PyTorch now answers otherwise: {row.describe()}" if row.verdict.fails else None

        def wrong(records: Sequence[AnyRecord]) -> str | None:
            said = [one.output_sha256 for one in records if isinstance(one, Sample) and one.output_sha256 is not None]
            row = self._compared(item.id, said)
            if row.verdict is not Verdict.UNSTABLE:
                return None
            self._keep("paired", [row])
            return row.describe()

        return PairItem(
            item.id,
            {"item": item.id},
            statistics.median(samples[item.id]) if item.id in samples else 0.0,
            lambda warmup, repetitions: self._order("pairs", [item], warmup, repetitions, None, runner),
            departs,
            wrong,
        )

    def timed_models(self) -> list[TimedModel]:
        return [timed_tensors(one) for one in self._together]

    def _keep(self, passes: Passes, rows: Iterable[ItemParity]) -> list[ParityLine]:
        from harness.results.summarize import item_row

        lines = [item_row(row, passes=passes) for row in rows]
        self._context.writer.parity(lines)
        return lines

    def _ordered(self) -> list[WorkItem]:
        if not self._items:
            inputs = self._model.inputs()
            self._items = [
                WorkItem(id=item, workload=self.name, input=encode(arrays)) for item, arrays in inputs.items()
            ]
        return self._items

    def _ask(
        self,
        purpose: Purpose,
        items: list[WorkItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None = None,
        runner: Runner | None = None,
    ) -> RunResult:
        context = self._context
        runner = runner or context.runner(context.options.variant)
        order = self._order(purpose, items, warmup, repetitions, probe, runner)
        total = len(items) * (warmup + repetitions + (probe is not None))
        return context.orders.run(purpose, self.name, "", runner, order, total)

    def _order(
        self,
        purpose: str,
        items: list[WorkItem],
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None,
        runner: Runner,
    ) -> WorkOrder:
        [model] = [one for one in runner.archive.metadata.models if one.name == self.name]
        return WorkOrder(
            order_id=f"{purpose}-{self.name}-{secrets.token_hex(4)}",
            archive_sha256=runner.archive.sha256,
            workloads=[model.workload()],
            items=items,
            warmup=warmup,
            repetitions=repetitions,
            threads=self._context.options.threads,
            probe=probe,
        )


def tensors_asked(context: RunContext, options: RunOptions) -> dict[str, TensorRun]:
    """Return a TensorRun for each tensor workload of the options. Raises UsageError and what describing one raises."""
    if not options.models:
        return {}
    with context.stage("looking at the models") as stage:
        models = context.builder.models(options, stage.say)
    return {
        model.name: TensorRun(context, model, [one for one in models if one.source.label == model.source.label])
        for model in models
    }


TENSOR = WorkloadKind("tensor", tensors_asked)
