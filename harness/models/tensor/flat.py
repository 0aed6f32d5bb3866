"""Wrap a user's module for the compiler and the reference: tensors in order, a tuple of named tensors out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from harness.core.progress import Progress
from harness.models.functions import Call as FunctionCall
from harness.models.functions import ModelFunction, ModelFunctions
from harness.models.tensor.loading import calibration_inputs, checked_items, dimensions, find_spec, users_code
from harness.models.tensor.sources import BadModel
from harness.models.tensor.spec import ModelSpec
from harness.models.timing import Call
from harness.protocol.schema import Precision
from harness.protocol.tensors import encode


class FlatModule(nn.Module):
    """Call the module by its parameters' names; return one tensor, or a tuple of all tensors in its result."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.harness_model, self.names = module, names

    def forward(self, *inputs: Tensor) -> Any:
        tensors = [leaf for leaf in pytree.tree_leaves(self.answer(inputs)) if isinstance(leaf, Tensor)]
        return tensors[0] if len(tensors) == 1 else tuple(tensors)

    def answer(self, inputs: tuple[Tensor, ...]) -> Any:
        result = self.harness_model(**dict(zip(self.names, inputs, strict=True)))
        # transformers' outputs are mappings without paths in torch.
        return dict(result) if isinstance(result, Mapping) else result


def flattened(spec: ModelSpec) -> FlatModule:
    """Return the spec's module in evaluation mode; raises BadModel if it builds something else."""
    module = spec.build()
    if not isinstance(module, nn.Module):
        raise BadModel(f"build of {spec.name!r} gives a {type(module).__name__}, not a torch.nn.Module")
    return FlatModule(module, tuple(spec.example_inputs)).eval()


def compiled_function(spec: ModelSpec, module: FlatModule) -> ModelFunction:
    """Return the function for the compiler."""
    inputs = tuple(spec.example_inputs.values())
    dynamic = tuple(dimensions(spec, name) or None for name in module.names)
    return ModelFunction(spec.name, module, inputs, (dynamic,) if any(dynamic) else None)


def weights_digest(module: FlatModule) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all parameters and buffers."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.harness_model.state_dict().items()):
        found.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@torch.inference_mode()
def answered(module: FlatModule, inputs: tuple[Tensor, ...], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the module's answers by output; ``names`` are the spec's, if it has any. Raises BadModel."""
    leaves, _ = pytree.tree_flatten_with_path(module.answer(inputs))
    found = [(path, leaf) for path, leaf in leaves if leaf is not None]
    wrong = next((leaf for _, leaf in found if not isinstance(leaf, Tensor)), None)
    if wrong is not None or not found:
        raise BadModel(f"the module returns {type(wrong).__name__ if found else 'nothing'} where a tensor is needed")
    given = names or tuple(_name(path, at, len(found)) for at, (path, _) in enumerate(found))
    if len(given) != len(found) or len(set(given)) != len(given):
        raise BadModel(f"the module returns {len(found)} tensors, their names are {', '.join(given)}")
    return {name: leaf for name, (_, leaf) in zip(given, found, strict=True)}


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two answers agree within rounding."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-5, equal_nan=True)


def _name(path: Any, at: int, count: int) -> str:
    """Return an output's name: its key in a dictionary if it has one, else its number."""
    keys = [str(key.key) for key in path if isinstance(key, pytree.MappingKey)]
    if keys and len(keys) == len(path):
        return "_".join(keys)
    return "output" if count == 1 else f"output_{at}"


def load(request: Mapping[str, Any], _precision: Precision, _progress: Progress) -> ModelFunctions:
    """Return the function of :meth:`harness.models.tensor.workload.TensorModel.compilable`. Raises BadModel."""
    path, name = Path(request["path"]), request["model"]
    spec = find_spec(request)
    with users_code(path, f"building {name!r}"):
        module = flattened(spec)
    if weights_digest(module) != request["weights_sha256"]:
        raise BadModel(
            f"build of {name!r} gives other weights each time",
            cure="load them from a file, or begin build with torch.manual_seed(0)",
        )
    usual = calibration_inputs(spec, path, checked_items(spec, path))

    def calibrate(call: FunctionCall) -> None:
        for inputs in usual.values():
            call(spec.name, tuple(inputs[name] for name in module.names))

    function = compiled_function(spec, module)
    return ModelFunctions((function,), {}, calibrate, observer=spec.observer, most_error=spec.most_error)


def timed(request: Mapping[str, Any]) -> Callable[[dict[str, Any]], Call]:
    """Return the maker of calls for PyTorch's timing process: calls of the module with its inputs ready."""
    path = Path(request["path"])
    spec = find_spec(request)
    items = {item: tuple(inputs.values()) for item, inputs in checked_items(spec, path).items()}
    with users_code(path, f"building {spec.name!r}"):
        module = flattened(spec)

    def ready(item: dict[str, Any]) -> Call:
        inputs = items[item["item"]]

        def answer(_result: Any) -> dict[str, Any]:
            with users_code(path, f"running {spec.name!r} on item {item['item']!r}"):
                found = answered(module, inputs, tuple(spec.output_names))
            arrays = {name: output.contiguous().numpy() for name, output in found.items()}
            return {"tensors": encode(arrays).model_dump()}

        return Call(torch.inference_mode()(lambda: module.answer(inputs)), answer)

    return ready
