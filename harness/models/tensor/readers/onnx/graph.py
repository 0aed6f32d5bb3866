"""A model of ONNX as a torch module: its initializers are parameters, its nodes are called one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from harness.models.tensor.readers.onnx import elementwise, indexing, networks, recurrent, shapes
from harness.models.tensor.readers.onnx.call import CURE, OPERATORS, Call, Known, Value, as_tensor
from harness.models.tensor.sources import BadModel

MOST_KNOWN = 1024
"""Elements of an integer constant that is taken for sizes, axes or indices, and not for a table of the model."""
STANDARD = ("", "ai.onnx")
MODULES = (elementwise, indexing, networks, recurrent, shapes)
"""The modules whose operators are registered by importing them."""


class OnnxModule(nn.Module):
    """Call the nodes of a graph in their order. Takes the inputs by name and returns the outputs by name.

    Raises BadModel for operators that are not read, with all their names.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self.version = next((one.version for one in model.opset_import if one.domain in STANDARD), 1)
        self.graph = model.graph
        refuse_unknown(model.graph)
        self.known: dict[str, Known] = {}
        self.parameter_of: dict[str, str] = {}
        for at, tensor in enumerate(model.graph.initializer):
            self._keep(tensor.name, at, numpy_helper.to_array(tensor))
        self.transposed = self._transpose_weights()

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        values: dict[str, Value] = dict(inputs)
        self._run(self.graph, values)
        return {one.name: as_tensor(self._value(one.name, values)) for one in self.graph.output}

    def _keep(self, name: str, at: int, array: Known) -> None:
        """Keep a constant: small integers as numbers, everything else as a parameter or a buffer."""
        if array.dtype.kind not in "biuf" and str(array.dtype) != "bfloat16":
            raise BadModel(f"the constant {name!r} is of type {array.dtype}, which PyTorch lacks", cure=CURE)
        if array.dtype.kind in "biu" and array.size <= MOST_KNOWN:
            self.known[name] = array
            return
        if array.size <= 8:  # bounds, scales and fill values, wanted as numbers by some operators
            self.known[name] = array
        tensor = _tensor(array)
        place = self.parameter_of[name] = f"constant_{at}"
        if tensor.is_floating_point():
            self.register_parameter(place, nn.Parameter(tensor, requires_grad=False))
        else:
            self.register_buffer(place, tensor)

    def _transpose_weights(self) -> set[str]:
        """Store the matrices that products multiply by as PyTorch's layers do, and return their names."""
        uses: dict[str, list[tuple[str, int]]] = {}
        for node in self.graph.node:
            for at, name in enumerate(node.input):
                uses.setdefault(name, []).append((node.op_type, at))
        found = set()
        for name, place in self.parameter_of.items():
            tensor = getattr(self, place)
            if tensor.ndim == 2 and uses.get(name) and all(use == ("MatMul", 1) for use in uses[name]):
                setattr(self, place, nn.Parameter(tensor.T.contiguous(), requires_grad=False))
                found.add(name)
        return found

    def _value(self, name: str, values: Mapping[str, Value]) -> Value:
        if name in values:
            return values[name]
        if name in self.parameter_of:
            tensor: Tensor = getattr(self, self.parameter_of[name])
            return tensor
        return self.known[name]

    def _run(self, graph: GraphProto, values: dict[str, Value]) -> None:
        for node in graph.node:
            if node.op_type == "If":
                found = self._branch(node, values)
            elif node.op_type == "MatMul" and node.input[1] in self.transposed:
                weight = self._value(node.input[1], values)
                found = (functional.linear(as_tensor(self._value(node.input[0], values)), as_tensor(weight)),)
            else:
                found = self._called(node, values)
            named = zip(node.output, found, strict=False)
            values.update({name: value for name, value in named if name and value is not None})

    def _called(self, node: NodeProto, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        inputs = [self._value(name, values) if name else None for name in node.input]
        given = {one.name: _attribute(one) for one in node.attribute}
        call = Call(
            name=node.name or (node.output[0] if node.output else ""),
            operator=node.op_type,
            version=self.version,
            inputs=inputs,
            attributes=given,
            outputs=len(node.output),
            constants=[self.known.get(name) for name in node.input],
        )
        try:
            found = OPERATORS[node.op_type](call)
        except (KeyError, IndexError, AssertionError) as error:
            raise call.refuse(f"it is not whole: {error}") from error
        return found if isinstance(found, tuple) else (found,)

    def _branch(self, node: NodeProto, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        """Run the branch of a condition that is known before the model runs."""
        condition = self._value(node.input[0], values)
        if isinstance(condition, Tensor):
            raise BadModel(
                f"the node {node.name!r} (If) depends on the model's inputs",
                cure="give the input that decides a value, if it has no axes: MODEL.onnx:rate=16000; or "
                "give the torch module itself in a Python file",
            )
        wanted = "then_branch" if bool(np.asarray(condition).reshape(-1)[0]) else "else_branch"
        graph = next(one.g for one in node.attribute if one.name == wanted)
        inner = dict(values)
        inner |= {one.name: _inner(numpy_helper.to_array(one)) for one in graph.initializer}
        self._run(graph, inner)
        return tuple(self._value(one.name, inner) for one in graph.output)


def refuse_unknown(graph: GraphProto) -> None:
    """Raise BadModel with the names of all operators that are not read."""
    unknown = sorted({_named(node) for node in _nodes(graph) if _is_unknown(node)})
    if unknown:
        raise BadModel(f"operators of ONNX that are not read: {', '.join(unknown)}", cure=CURE)


def _nodes(graph: GraphProto) -> Iterable[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if node.op_type == "If" else ():
                yield from _nodes(inner)


def _is_unknown(node: NodeProto) -> bool:
    return node.domain not in STANDARD or (node.op_type not in OPERATORS and node.op_type != "If")


def _named(node: NodeProto) -> str:
    return node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"


def _tensor(array: Known) -> Tensor:
    if str(array.dtype) == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))  # a copy that may be written to, also of an array without axes


def _inner(array: Known) -> Value:
    return array if array.dtype.kind in "biu" else _tensor(array)


def _attribute(attribute: AttributeProto) -> Any:
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(attribute.t)
    kinds = {
        AttributeProto.FLOAT: "f",
        AttributeProto.INT: "i",
        AttributeProto.STRING: "s",
        AttributeProto.FLOATS: "floats",
        AttributeProto.INTS: "ints",
        AttributeProto.STRINGS: "strings",
    }
    if attribute.type not in kinds:
        return None
    value = getattr(attribute, kinds[attribute.type])
    return list(value) if kinds[attribute.type].endswith("s") and kinds[attribute.type] != "s" else value
