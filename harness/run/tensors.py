"""The models of tensors of one run: each run, compared and timed in orders of its own, which load nothing else."""

from __future__ import annotations

import secrets
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.devices import AnyRecord, RunResult
from harness.measure.sampling import spread_order
from harness.models.described import UserModel
from harness.models.timing import TimedModel, timed_tensors
from harness.native import Runner
from harness.protocol.schema import Probe, RecordOptions, Sample, TensorItem, Tensors, WorkOrder
from harness.protocol.tensors import Array, decode, digest, encode
from harness.results import ModelFacts, ModelParityLine, ModelReferenceLine
from harness.run.context import RunContext
from harness.run.orders import Purpose
from harness.run.turns import MOST_ITEMS, PairItem, Subject
from harness.validate import Verdict
from harness.validate.tensors import ItemParity, compare_item


@dataclass(frozen=True)
class ModelTimes:
    """The timed passes of a model, in nanoseconds by item, and what was compared."""

    result: RunResult
    samples: dict[str, list[int]]
    parity: list[ModelParityLine]


class ModelRuns:
    """Steps are done once, as :class:`RunContext` has it."""

    def __init__(self, context: RunContext, models: list[UserModel]) -> None:
        self._context = context
        self._models = {model.name: model for model in models}
        self._items: dict[str, list[TensorItem]] = {}
        self._probed: dict[str, dict[str, dict[str, Array]]] = {}
        """By model and item, what the parity order's probe said."""

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def of(self, source: str) -> list[str]:
        """The names of the models that one ``--models`` named."""
        return [name for name, model in self._models.items() if model.source.label == source]

    def facts(self) -> dict[str, ModelFacts]:
        """For the manifest."""
        return {
            name: ModelFacts(
                source=model.source.label,
                prefix=model.facts.prefix,
                parameters=model.facts.parameters,
                weights_sha256=model.facts.weights_sha256,
                items=len(model.facts.items),
                compare=model.facts.compare.describe(),
                comparison=model.facts.compare,
            )
            for name, model in self._models.items()
        }

    def smoke(self, name: str) -> RunResult:
        """The first item, once."""
        first = self._ordered(name)[:1]
        return self._context.once(f"smoke {name}", lambda: self._ask("smoke", name, first, warmup=0, repetitions=1))

    def parity(self, name: str) -> list[ModelParityLine]:
        """One line an item; those that an incomplete run did not reach are ``missing``."""
        return self._context.once(f"parity {name}", lambda: self._parity(name))

    def times(self, name: str) -> ModelTimes:
        """Timed passes over all items; an incomplete result holds what there is."""
        return self._context.once(f"latency {name}", lambda: self._times(name))

    def passes(
        self, purpose: Purpose, name: str, *, warmup: int, repetitions: int, runner: Runner | None = None
    ) -> RunResult:
        """An order of passes over what is timed of a model's items; ``runner`` in the place of the run's own."""
        items = self._timed_items(name)
        return self._ask(purpose, name, items, warmup=warmup, repetitions=repetitions, runner=runner)

    def everything(self) -> None:
        """All steps of all models, for prefetching."""
        for name in self._models:
            self.smoke(name)
            self.parity(name)
            self.times(name)

    def _parity(self, name: str) -> list[ModelParityLine]:
        result = self._ask("parity", name, self._ordered(name), warmup=0, repetitions=0, probe=RecordOptions())
        self._probed[name] = {
            record.items[0]: decode(record.tensors)
            for record in result.records
            if isinstance(record, Probe) and record.tensors is not None
        }
        model = self._models[name]
        rows = [
            compare_item(name, item, model.facts.compare, expected, self._probed[name].get(item))
            for item, expected in model.expected().items()
        ]
        return self._keep(name, rows)

    def _times(self, name: str) -> ModelTimes:
        from harness.results.models import timed

        self.parity(name)
        self._context.quiet()
        options, model = self._context.options, self._models[name]
        self._context.writer.model_reference(
            ModelReferenceLine(model=name, item=item, output_sha256=digest(outputs))
            for item, outputs in model.expected().items()
        )
        items = self._timed_items(name)
        result = self._ask("latency", name, items, warmup=options.warmup, repetitions=options.repeat)
        digests: dict[str, list[str]] = defaultdict(list)
        for record in result.records:
            if isinstance(record, Sample) and record.output_sha256 is not None:
                digests[record.items[0]].append(record.output_sha256)
        rows = [self._compared(name, item.id, digests[item.id]) for item in items]
        return ModelTimes(result, timed(result.records), self._keep(f"{name}, timed", rows))

    def _compared(self, name: str, item: str, digests: list[str]) -> ItemParity:
        """A pass keeps only the hash of what it said, and the parity order's probe has the answer of that hash."""
        model = self._models[name]
        probed = self._probed[name].get(item) if digests else None
        outputs = [one.name for one in model.facts.outputs]
        seen = [] if probed is None else [digest({out: probed[out] for out in outputs})]
        return compare_item(name, item, model.facts.compare, model.expected()[item], probed, digests=[*seen, *digests])

    def _timed_items(self, name: str) -> list[TensorItem]:
        return [self._ordered(name)[at] for at in sorted(self.spread(name)[: self._context.options.timed_items])]

    def spread(self, name: str) -> list[int]:
        """The items' numbers in an order whose every beginning is spread over their sizes."""
        inputs = self._models[name].inputs()
        return spread_order([("", sum(array.nbytes for array in arrays.values())) for arrays in inputs.values()])

    def subject(self, name: str) -> Subject:
        """What is timed in turns with PyTorch, as the run's own passes were."""
        times, runner = self.times(name), self._context.runner(self._context.options.variant)
        times.result.require_complete()
        ordered = self._ordered(name)
        items = [self._pair_item(name, ordered[at], times, runner) for at in self.spread(name)[:MOST_ITEMS]]
        return Subject(name, items, len(ordered), runner)

    def _pair_item(self, name: str, item: TensorItem, times: ModelTimes, runner: Runner) -> PairItem:
        model = self._models[name]

        def departs(answer: dict[str, Any]) -> str | None:
            said = decode(Tensors.model_validate(answer["tensors"]))
            row = compare_item(name, item.id, model.facts.compare, model.expected()[item.id], said)
            return f"PyTorch now answers otherwise: {row.describe()}" if row.verdict.fails else None

        def wrong(records: Sequence[AnyRecord]) -> str | None:
            said = [one.output_sha256 for one in records if isinstance(one, Sample) and one.output_sha256 is not None]
            row = self._compared(name, item.id, said)
            if row.verdict is not Verdict.UNSTABLE:
                return None
            self._keep(f"{name}, paired", [row])
            return row.describe()

        return PairItem(
            item.id,
            {"item": item.id},
            statistics.median(times.samples[item.id]) if item.id in times.samples else 0.0,
            lambda warmup, repetitions: self._order("pairs", name, [item], warmup, repetitions, None, runner),
            departs,
            wrong,
        )

    def timed_models(self, name: str) -> list[TimedModel]:
        """The model, and those of the same source, which PyTorch loads together."""
        source = self._models[name].source.label
        return [timed_tensors(self._models[one]) for one in self.of(source)]

    def _keep(self, comparison: str, rows: Iterable[ItemParity]) -> list[ModelParityLine]:
        from harness.results.models import model_lines

        lines = model_lines(comparison, rows)
        self._context.writer.model_parity(lines)
        return lines

    def _ordered(self, name: str) -> list[TensorItem]:
        if name not in self._items:
            inputs = self._models[name].inputs()
            self._items[name] = [
                TensorItem(id=item, model=name, inputs=encode(arrays)) for item, arrays in inputs.items()
            ]
        return self._items[name]

    def _ask(
        self,
        purpose: Purpose,
        name: str,
        items: list[TensorItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None = None,
        runner: Runner | None = None,
    ) -> RunResult:
        run = self._context
        runner = runner or run.runner(run.options.variant)
        order = self._order(purpose, name, items, warmup, repetitions, probe, runner)
        total = len(items) * (warmup + repetitions + (probe is not None))
        return run.orders.run(purpose, name, runner, order, total)

    def _order(
        self,
        purpose: str,
        name: str,
        items: list[TensorItem],
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None,
        runner: Runner,
    ) -> WorkOrder:
        known = {model.name: model for model in runner.archive.metadata.models}
        return WorkOrder(
            order_id=f"{purpose}-{name}-{secrets.token_hex(4)}",
            archive_sha256=runner.archive.sha256,
            models=[],
            items=[],
            tensor_models=[known[name].order_model()],
            tensor_items=items,
            warmup=warmup,
            repetitions=repetitions,
            threads=self._context.options.threads,
            probe=probe,
        )
