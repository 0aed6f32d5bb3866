"""The models of tensors of one run: each run, compared and timed in orders of its own, which load nothing else."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.devices import RunResult
from harness.models.described import UserModel
from harness.native import Runner
from harness.protocol import Probe, RecordOptions, Sample, TensorItem, WorkOrder
from harness.results import ModelFacts, ModelParityLine, ModelReferenceLine
from harness.tensors import Array, decode, digest, encode
from harness.validate.tensors import ItemParity, compare_item

HOST = "host"

if TYPE_CHECKING:
    from harness.orders import Purpose
    from harness.session import RunSession


@dataclass(frozen=True)
class ModelTimes:
    """The timed passes of a model, in nanoseconds by item, PyTorch's where it was timed, and what was compared."""

    result: RunResult
    samples: dict[str, list[int]]
    pytorch: dict[str, list[int]]
    parity: list[ModelParityLine]


class ModelRuns:
    """Made by :class:`RunSession`, whose device, writer and runner it uses; steps are done once, as there."""

    def __init__(self, run: RunSession, models: list[UserModel]) -> None:
        self._run = run
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
        return self._run.once(f"smoke {name}", lambda: self._ask("smoke", name, first, warmup=0, repetitions=1))

    def parity(self, name: str) -> list[ModelParityLine]:
        """One line an item; those that an incomplete run did not reach are ``missing``."""
        return self._run.once(f"parity {name}", lambda: self._parity(name))

    def times(self, name: str) -> ModelTimes:
        """Timed passes over all items; an incomplete result holds what there is."""
        return self._run.once(f"latency {name}", lambda: self._times(name))

    def passes(
        self, purpose: Purpose, name: str, *, warmup: int, repetitions: int, runner: Runner | None = None
    ) -> RunResult:
        """An order of passes over a model's items; ``runner`` in the place of the run's own."""
        items = self._ordered(name)
        return self._ask(purpose, name, items, warmup=warmup, repetitions=repetitions, runner=runner)

    def everything(self) -> None:
        """All steps of all models, for who works ahead."""
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
        pytorch = self._pytorch(name)
        options, model = self._run.options, self._models[name]
        result = self.passes("latency", name, warmup=options.warmup, repetitions=options.repeat)
        digests: dict[str, list[str]] = defaultdict(list)
        for record in result.records:
            if isinstance(record, Sample) and record.output_sha256 is not None:
                digests[record.items[0]].append(record.output_sha256)
        outputs = [one.name for one in model.facts.outputs]
        rows = []
        for item, expected in model.expected().items():
            # A pass keeps only the hash of what it said, and the parity order's probe has the answer of that hash.
            probed = self._probed[name].get(item) if digests[item] else None
            seen = [] if probed is None else [digest({out: probed[out] for out in outputs})]
            rows.append(compare_item(name, item, model.facts.compare, expected, probed, digests=seen + digests[item]))
        return ModelTimes(result, timed(result.records), pytorch, self._keep(f"{name}, timed", rows))

    def _pytorch(self, name: str) -> dict[str, list[int]]:
        """PyTorch is timed where the runner is timed, or not at all: two machines' times have no ratio."""
        model, found = self._models[name], dict[str, list[int]]()
        if self._run.device.kind == HOST:
            with self._run.stage(f"timing {name} in PyTorch") as stage, self._run.device.reserve(notify=stage.say):
                found = self._run.maker.model_times(self._run.options, model, stage.say)
        self._run.writer.model_reference(
            ModelReferenceLine(model=name, item=item, output_sha256=digest(outputs), latency_ns=found.get(item, []))
            for item, outputs in model.expected().items()
        )
        return found

    def _keep(self, comparison: str, rows: Iterable[ItemParity]) -> list[ModelParityLine]:
        from harness.results.models import model_lines

        lines = model_lines(comparison, rows)
        self._run.writer.model_parity(lines)
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
        run = self._run
        runner = runner or run.runner(run.options.variant)
        known = {model.name: model for model in runner.archive.metadata.models}
        order = WorkOrder(
            order_id=f"{purpose}-{name}-{secrets.token_hex(4)}",
            archive_sha256=runner.archive.sha256,
            models=[],
            items=[],
            tensor_models=[known[name].order_model()],
            tensor_items=items,
            warmup=warmup,
            repetitions=repetitions,
            threads=run.options.threads,
            probe=probe,
        )
        total = len(items) * (warmup + repetitions + (probe is not None))
        return run.orders.run(purpose, name, runner, order, total)
