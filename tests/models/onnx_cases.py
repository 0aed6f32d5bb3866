"""The ONNX project's own cases of its operators: a model of one node, its inputs, and the outputs that are right."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests
from torch import Tensor

from harness.models.tensor.readers.onnx.elementwise import TYPES
from harness.models.tensor.readers.onnx.graph import OnnxModule
from harness.models.tensor.sources import BadModel

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass
class Outcome:
    """What became of the cases: how many agree, which are refused and why, and which are wrong."""

    agreeing: Counter[str] = field(default_factory=Counter)
    """By operator."""
    refused: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    other_types: int = 0
    """Cases with text, sequences, or numbers of a type that PyTorch does not compute with."""


def run_all() -> Outcome:
    found = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, where the cases divide by zero
        cases = load_model_tests(kind="node")
    for case in cases:
        if case.name.endswith("_expanded"):
            continue  # the same case, with the operator written by others
        model = case.model
        assert model is not None
        assert case.data_sets is not None
        kinds = [one.type.tensor_type.elem_type for one in (*model.graph.input, *model.graph.output)]
        if any(kind not in TYPES for kind in kinds):
            found.other_types += 1
            continue
        try:
            faults = [fault for inputs, wanted in case.data_sets for fault in _faults(model, inputs, wanted)]
        except BadModel as error:
            found.refused[case.name] = str(error)
            continue
        found.wrong += [f"{case.name}: {fault}" for fault in faults]
        if not faults:
            found.agreeing.update({node.op_type for node in model.graph.node})
    return found


def _faults(model: ModelProto, inputs: Any, wanted: Any) -> Iterator[str]:
    arrays = {one.name: _array(value) for one, value in zip(model.graph.input, inputs, strict=False)}
    answers = _answers(model, arrays)
    loose = any(one.type.tensor_type.elem_type in HALVES for one in model.graph.input)
    for value, expected in zip(model.graph.output, wanted, strict=True):
        right, ours = _tensor(_array(expected)), answers[value.name]
        if (ours.shape, ours.dtype) != (right.shape, right.dtype):
            yield f"{value.name} is {ours.dtype}{list(ours.shape)}, not {right.dtype}{list(right.shape)}"
        elif not torch.allclose(
            ours.double(), right.double(), rtol=2e-2 if loose else 1e-3, atol=1e-2 if loose else 1e-5, equal_nan=True
        ):
            yield f"{value.name} differs"


def _answers(model: ModelProto, arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Run a case. What has to be known before a model runs is a constant, as those who export models write it."""
    try:
        found: dict[str, Tensor] = OnnxModule(model)(**{name: _tensor(one) for name, one in arrays.items()})
    except BadModel:
        written = ModelProto()
        written.CopyFrom(model)
        constants = [name for at, (name, one) in enumerate(arrays.items()) if at > 0 and one.size <= 64]
        written.graph.initializer.extend(numpy_helper.from_array(arrays[name], name) for name in constants)
        free = {name: _tensor(one) for name, one in arrays.items() if name not in constants}
        found = OnnxModule(written)(**free)
    return found


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def _tensor(array: Any) -> Tensor:
    if str(array.dtype) == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array))
