"""KeepBytes: let tensors between convolutions have bytes for elements, where their usual range is known.

A convolution that takes bytes multiplies them as integers and hands bytes on. What else reads such a tensor gets its
numbers back; what a convolution reads from elsewhere is converted once. Pools of the largest take bytes as they are.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from harness.compiler.graph.graph import (
    Graph,
    arguments,
    is_float32,
    is_variable,
    op_name,
    renamed,
    rewrite_functions,
    static_shape,
)
from harness.compiler.graph.origins import Origin, completed, origin_of
from harness.compiler.kernels.byte_convolution import byte_kind, takes_bytes
from harness.compiler.kernels.bytes import CHANNELS
from harness.compiler.kernels.grid import Grid
from harness.compiler.kernels.panels import Stored
from harness.compiler.operators.bytes import FromBytesOp, ToBytesOp
from harness.compiler.operators.convolution import ConvolutionOp
from harness.compiler.operators.operator import OpTable, array
from harness.compiler.operators.quality import Quality
from harness.compiler.targets.profiles import Profile

POOL = "relax.nn.max_pool2d"


@tvm.transform.module_pass(opt_level=0, name="KeepBytes")
class KeepBytes:
    """Change the convolutions of ``ops`` that ``quality`` gives eight bits, and the operators between them."""

    def __init__(self, profile: Profile, quality: Quality, ops: OpTable) -> None:
        self.profile, self.quality, self.ops = profile, quality, ops

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        kind = byte_kind(self.profile)
        if kind is None or not self.quality.calibration.grids:
            return module
        return rewrite_functions(module, lambda one: _Rewriter(one, kind, self.quality, self.ops).rewritten())


@dataclass(frozen=True)
class _Call:
    """Hold a convolution's call."""

    op: ConvolutionOp
    args: list[Any]
    takes: bool
    """Whether it can multiply bytes."""

    @property
    def tensors(self) -> list[Any]:
        return self.args[1 : 1 + self.op.convolution.epilogue.tensors]


class _Rewriter:
    def __init__(self, function: relax.Function, kind: str, quality: Quality, ops: OpTable) -> None:
        self.function, self.kind, self.quality, self.ops = _without_tuples(function, ops), kind, quality, ops
        self.graph = Graph(self.function)
        self.whole = completed(self.graph, ops.origins)
        self.users: dict[Any, list[Any]] = defaultdict(list)
        for binding in self.graph.bindings:
            for var in set(arguments(binding.value)):
                self.users[var].append(binding.var)
        self.ends = set(arguments(self.graph.result))
        self.grids: dict[Any, Grid] = {}
        """The grids of the tensors that have bytes."""
        self.calls = {b.var: found for b in self.graph.bindings if (found := self._call(b.value)) is not None}
        self._choose()

    def _call(self, value: Any) -> _Call | None:
        found = self.ops.read(value)
        if found is None or not isinstance(found[0], ConvolutionOp):
            return None
        op: ConvolutionOp = found[0]
        layers = self.ops.layers(value)
        given = op.scales or self._scales(value)
        costs = [known[one.name] for one in layers if one.name in (known := self.quality.calibration.costs)]
        op = replace(op, scales=given)
        conv = op.convolution
        eight = bool(given) or (self.quality.of(layers) == "int8" and not any(one.kept for one in costs))
        fits = takes_bytes(conv) or (conv.planar and conv.groups == 1)
        return _Call(op, found[1], eight and fits and self._grid(found[1][0]) is not None)

    def _scales(self, value: Any) -> tuple[float, ...]:
        names = [one.name for one in self.ops.layers(value)]
        scales = self.quality.calibration.scales
        return next((scales[name] for name in names if name in scales), ())

    def _grid(self, var: Any) -> Grid | None:
        """Return the grid for a tensor's usual range; None if that is not known."""
        if not is_variable(var) or static_shape(var) is None or not is_float32(var):
            return None
        known = self.quality.calibration.grids
        if var not in self.graph.definitions:
            return known.get(str(var.name))
        layout = self.graph.call(var, "relax.permute_dims")
        if layout is not None:
            return self._grid(layout.args[0])
        number = self.whole[var].value
        return None if number is None else known.get(self.ops.origins.operators[number].name)

    def _choose(self) -> None:
        for one in self.calls.values():
            x = one.args[0]
            if not one.takes or one.op.convolution.planar:
                continue
            grid = self._grid(x)
            assert grid is not None
            pooled = self._pooled(x)
            made = x in self.calls or pooled is not None
            if one.op.convolution.by_channel and not made:
                continue
            self.grids[x] = grid
            if pooled is not None:
                self.grids[pooled] = grid
        for var, one in self.calls.items():
            grid, users = self._grid(var), self.users[var]
            if var in self.grids or grid is None or not one.takes or var in self.ends or not users:
                continue
            if all(user in self.calls and not self.calls[user].args[0].same_as(var) for user in users):
                self.grids[var] = grid

    def _pooled(self, var: Any) -> Any:
        """Return the convolution's result that nothing but a pool with the result ``var`` reads."""
        call = self.graph.call(var, POOL)
        if call is None:
            return None
        x = call.args[0]
        return x if x in self.calls and len(self.users[x]) == 1 and x not in self.ends else None

    def rewritten(self) -> relax.Function:
        if not self.grids and not any(one.takes for one in self.calls.values()):
            return self.function
        self.builder = relax.BlockBuilder()
        self.numbers: dict[Any, Any] = {}
        self.bytes: dict[Any, Any] = {}
        with self.builder.function("main", list(self.function.params), attrs=dict(self.function.attrs or {})):
            with self.builder.dataflow():
                for binding in self.graph.bindings:
                    self._emit(binding.var, binding.value)
                output = self.builder.emit_output(self._renamed(self.graph.result))
                self.ops.origins.note(output, origin_of(self.graph, self.graph.result, self.whole))
            self.builder.emit_func_output(output)
        return relax.analysis.remove_all_unused(self.builder.get()["main"])

    def _emit(self, var: Any, value: Any) -> None:
        call = self.calls.get(var)
        if call is not None:
            made = self._convolution(var, value, call)
            (self.bytes if var in self.grids else self.numbers)[var] = made
        elif op_name(value) == POOL and var in self.grids and value.args[0] in self.grids:
            given = relax.Call(value.op, [self._as_bytes(value.args[0])], value.attrs)
            made = self.bytes[var] = self.builder.emit(given)
        else:
            made = self.numbers[var] = self.builder.emit(self._renamed(value))
        # Bytes are not the operator's numbers: nobody may compare them with PyTorch's.
        origin = self.whole[var]
        self.ops.origins.note(made, Origin(origin.operators) if var in self.bytes else origin)

    def _renamed(self, value: Any) -> Any:
        for var in arguments(value):
            self._as_numbers(var)
        return renamed(value, self.numbers)

    def _as_numbers(self, var: Any) -> Any:
        if var not in self.numbers and var in self.bytes:
            ty = relax.TensorType(static_shape(var), "float32")
            op = FromBytesOp(self.grids[var], self.kind)
            self.numbers[var] = self.builder.emit(self.ops.call(op, [self.bytes[var]], ty))
            self.ops.origins.note(self.numbers[var], self.whole[var])
        return self.numbers.get(var, var)

    def _as_bytes(self, var: Any) -> Any:
        if var not in self.bytes:
            self.bytes[var] = self._converted(var, self.grids[var], static_shape(var))
        return self.bytes[var]

    def _converted(self, var: Any, grid: Grid, shape: tuple[int, ...] | None, *, planar: bool = False) -> Any:
        ty = relax.TensorType(shape, self.kind)
        made = self.builder.emit(self.ops.call(ToBytesOp(grid, self.kind, planar), [self._as_numbers(var)], ty))
        if var in self.whole:
            self.ops.origins.note(made, Origin(self.whole[var].operators))
        return made

    def _convolution(self, var: Any, value: Any, call: _Call) -> Any:
        op, conv, (x, *rest) = call.op, call.op.convolution, call.args
        image = self._grid(x) if call.takes and (conv.planar or x in self.grids) else None
        tensors = tuple(self.grids.get(one) for one in call.tensors)
        result = self.grids.get(var)
        if image is None:
            given = self._as_numbers(x)
        elif conv.planar:
            given = self._converted(x, image, (conv.batch, *conv.size, CHANNELS), planar=True)
            at = len(tensors)
            rest[at] = relax.const(_widened(array(rest[at])))
            conv = replace(conv, planar=False, channels=CHANNELS)
        else:
            given = self._as_bytes(x)
        beside = [
            self._as_numbers(one) if grid is None else self._as_bytes(one)
            for one, grid in zip(call.tensors, tensors, strict=True)
        ]
        stored = Stored(
            self.kind,
            image is not None,
            tuple(at for at, grid in enumerate(tensors) if grid is not None),
            result is not None,
            image is None or image.moved(self.kind) == 0,
        )
        if image is not None:
            self.quality.byte_layers |= {one.name for one in self.ops.layers(value)}
        conv = replace(conv, stored=stored if stored else Stored())
        made = replace(op, convolution=conv, image=image, result=result, tensors=tensors)
        ty = value.ty if result is None else relax.TensorType(static_shape(value), self.kind)
        found = self.ops.call(made, [given, *beside, *rest[len(tensors) :]], ty)
        self.ops.computes[len(self.ops.entries) - 1] = self.ops.computes.get(int(value.args[1]), frozenset())
        return self.builder.emit(found)


def _without_tuples(function: relax.Function, ops: OpTable) -> relax.Function:
    """Return the function without fields that are taken from tuples of known ones, such as a pool's without places."""
    graph = Graph(function)
    whole = completed(graph, ops.origins)
    if not any(isinstance(b.value, relax.TupleGetItem) for b in graph.bindings):
        return function
    builder, new = relax.BlockBuilder(), dict[Any, Any]()
    with builder.function("main", list(function.params), attrs=dict(function.attrs or {})):
        with builder.dataflow():
            for binding in graph.bindings:
                value = binding.value
                fields = graph.definition(value.tuple_value) if isinstance(value, relax.TupleGetItem) else None
                if isinstance(fields, relax.Tuple):
                    new[binding.var] = renamed(fields.fields[value.index], new)
                else:
                    new[binding.var] = builder.emit(renamed(value, new))
                ops.origins.note(new[binding.var], whole[binding.var])
            output = builder.emit_output(renamed(graph.result, new))
            ops.origins.note(output, origin_of(graph, graph.result, whole))
        builder.emit_func_output(output)
    return relax.analysis.remove_all_unused(builder.get()["main"])


def _widened(weight: Any) -> Any:
    """Return filters [KH, KW, C, O] with zeros for channels that the image lacks."""
    found = np.zeros((*weight.shape[:2], CHANNELS, weight.shape[3]), np.float32)
    found[:, :, : weight.shape[2]] = weight
    return found
