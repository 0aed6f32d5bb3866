"""Define a user's model as a workload: one function that takes tensors and returns tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from harness.core.cache import Cache
from harness.core.progress import Progress
from harness.models.kinds import WorkloadKind
from harness.models.options import ModelOptions
from harness.models.tensor.described import UserModel, describe_models, source_request
from harness.models.tensor.sources import resolve_model
from harness.models.tensors import Arrays, TensorWorkload
from harness.models.workload import Compilable, Expected, TimedModel
from harness.protocol.schema import WorkItem
from harness.protocol.tensors import encode


class TensorModel(TensorWorkload):
    """Hold a described model; PyTorch's answers are part of its description."""

    def __init__(self, model: UserModel) -> None:
        facts = model.facts
        self.model, self.name, self.label = model, facts.name, facts.name
        self.source, self.weights_sha256, self.parameters = model.source.label, facts.weights_sha256, facts.parameters
        self.comparison = facts.compare

    @cached_property
    def items(self) -> Sequence[WorkItem]:  # type: ignore[override]
        inputs = self.model.inputs()
        return [WorkItem(id=item, workload=self.name, input=encode(arrays)) for item, arrays in inputs.items()]

    def compilable(self, variant: str) -> Compilable:
        model, facts = self.model, self.model.facts
        return Compilable(
            name=self.name,
            kind=self.kind,
            prefix=facts.prefix,
            functions=(),
            load="harness.models.tensor.flat:load",
            request={"model": self.name, "weights_sha256": facts.weights_sha256, **source_request(model.source)},
            identity={"model": model.key},
            keep_wide=facts.keep_wide,
            metadata={
                "inputs": [one.model_dump() for one in facts.inputs],
                "outputs": [one.model_dump() for one in facts.outputs],
                "weights_sha256": facts.weights_sha256,
            },
        )

    def expected(self, progress: Progress) -> Expected[Arrays]:
        return Expected(self.model.expected())

    def timed_model(self) -> TimedModel:
        request = {"model": self.name, **source_request(self.model.source)}
        return TimedModel(self.name, "harness.models.tensor.flat:timed", request)


def open_models(names: Sequence[str], options: ModelOptions, cache: Cache, progress: Progress) -> list[TensorModel]:
    """Return the models that files, shipped modules and installed packages offer under these names.

    Raises UnknownModel, ModelsClash, BadModel, and what describing a model raises.
    """
    sources = [resolve_model(name, allow_pickle=options.allow_pickle) for name in names]
    return [TensorModel(model) for model in describe_models(sources, cache=cache, progress=progress)]


KIND = WorkloadKind("tensor", open_models)
