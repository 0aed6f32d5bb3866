"""Define a convolution with constant filters, with the norm and the element-wise steps behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from harness.compiler.graph.graph import Array, Graph, is_float32, op_name, static_shape
from harness.compiler.kernels.byte_convolution import byte_kernel, given_steps, pack_steps, rounded_filters
from harness.compiler.kernels.bytes import grid_numbers
from harness.compiler.kernels.convolution import convolution_kernel
from harness.compiler.kernels.depthwise import depthwise_kernel, pack_by_channel
from harness.compiler.kernels.epilogue import BINARY, Epilogue, Operand, Step
from harness.compiler.kernels.grid import Grid
from harness.compiler.kernels.panels import Convolution, pack_filters
from harness.compiler.kernels.winograd import choose_winograd, pack_winograd, winograd_kernel
from harness.compiler.operators.operator import FusedOperator, Lowering, Match, OpTable, array
from harness.compiler.operators.product import ACTIVATION_OPS

CONVOLUTIONS = ("relax.nn.conv1d", "relax.nn.conv2d")
LAYOUTS = {"NHWC": "HWIO", "NWC": "WIO"}
STEPS = {f"relax.{name}": name for name in BINARY} | ACTIVATION_OPS | {"relax.sigmoid": "sigmoid"}
MOST_STEPS = 12
"""The most steps that are fused behind a convolution."""
PLANAR = [0, 2, 3, 1]
"""The axes of an image in torch's order, when channels become the last."""


@dataclass(frozen=True)
class ConvolutionOp(FusedOperator):
    """Arguments: x [N, H, W, C], tensors of the epilogue, filters [KH, KW, I, O], shift [O], channels of it.

    ``image``, ``result`` and ``tensors`` are the grids of those that have bytes for elements. ``scales`` are steps of
    the filters that the model itself was made with, one for each.
    """

    convolution: Convolution
    image: Grid | None = None
    result: Grid | None = None
    tensors: tuple[Grid | None, ...] = ()
    scales: tuple[float, ...] = ()

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        found = match_convolution(graph, value)
        if found is None:
            return None
        x, conv, steps = found
        arrays = [steps.weight, steps.shift, *steps.channels]
        return Match(cls(conv), (x, *steps.tensors, *arrays), value.ty)

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        conv, profile = self.convolution, lowering.profile
        tensors = conv.epilogue.tensors
        weight, rest = array(args[1 + tensors]), args[2 + tensors :]
        if conv.stored:
            return self._lower_bytes(args[: 1 + tensors], weight, rest, call, lowering)
        if conv.by_channel:
            kernel, packed = depthwise_kernel(profile, conv), pack_by_channel(conv, weight)
        elif (form := choose_winograd(conv, profile)) is not None:
            kernel, packed = winograd_kernel(profile, form), pack_winograd(form, weight)
        else:
            kernel, packed = convolution_kernel(profile, conv), pack_filters(conv, weight, profile)
        return lowering.call(kernel, [*args[: 1 + tensors], relax.const(packed), *rest], call.ty)

    def _lower_bytes(
        self, given: list[Any], weight: Array, rest: list[Any], call: Any, lowering: Lowering
    ) -> relax.Expr:
        """Return the call of a kernel that reads or writes bytes."""
        conv, profile, kind = self.convolution, lowering.profile, self.convolution.stored.kind
        if self.result is not None:
            conv = replace(conv, epilogue=_without_bounds(conv.epilogue, self.result))
        scale = np.ones(conv.filters, np.float32)
        if conv.by_channel:
            kernel, arrays = depthwise_kernel(profile, conv), [pack_by_channel(conv, weight)]
        elif self.image is None:
            kernel, arrays = convolution_kernel(profile, conv), [pack_filters(conv, weight, profile)]
        else:
            steps, scale = given_steps(weight, self.scales) or rounded_filters(weight, profile)
            kernel = byte_kernel(profile, conv, steps)
            arrays = pack_steps(conv, steps, self.image.moved(kind), profile)
        further = [] if self.image is None else [scale * np.float32(self.image.scale)]
        further.append(grid_numbers(kind, self.image, self.result, self.tensors))
        shift, *channels = rest
        constants = [relax.const(one) for one in arrays]
        return lowering.call(
            kernel, [*given, *constants, shift, *(relax.const(one) for one in further), *channels], call.ty
        )


def _without_bounds(epilogue: Epilogue, grid: Grid) -> Epilogue:
    """Leave out the last steps if they bound a result by what its bytes are bounded by anyway."""
    steps = list(epilogue.steps)
    least, most = ((bound - grid.zero) * grid.scale for bound in (grid.low, grid.high))
    while steps:
        last = steps[-1]
        number = next((one.number for one in last.operands if one.kind == "scalar"), None)
        if Operand("value", len(steps) - 1) not in last.operands:
            break
        low = last.name == "relu" or (last.name == "maximum" and number == 0)
        high = last.name == "minimum" and number is not None and most <= number * (1 + 1e-6)
        if not (low and least >= 0) and not high:
            break
        steps.pop()
    return replace(epilogue, steps=tuple(steps))


def match_convolution(graph: Graph, value: Any) -> tuple[Any, Convolution, Steps] | None:
    """Find the longest chain of element-wise steps that ends in ``value`` and begins with a convolution."""
    if not is_float32(value) or (op_name(graph.definition(value)) not in (*STEPS, *CONVOLUTIONS)):
        return None
    for root in _roots(graph, value):
        described = _described(graph, root)
        if described is None or static_shape(value) != static_shape(root):
            continue
        x, conv, weight = described
        steps = Steps(graph, root, weight)
        if steps.take(value):
            return x, replace(conv, epilogue=steps.epilogue), steps
    return None


def _field(graph: Graph, value: Any) -> Any:
    """Return the variable of a value, behind a tuple that it is taken from."""
    while True:
        found = graph.definitions.get(value)
        if isinstance(found, relax.TupleGetItem):
            fields = graph.definition(found.tuple_value)
            if not isinstance(fields, relax.Tuple):
                return value
            value = fields.fields[found.index]
        elif isinstance(found, relax.Var):
            value = found
        else:
            return value


def _roots(graph: Graph, value: Any) -> list[Any]:
    """Return the convolutions that element-wise steps lead to, the longest way first."""
    found: dict[Any, int] = {}
    waiting = [(_field(graph, value), 0)]
    while waiting and len(found) < 8:
        one, depth = waiting.pop()
        definition: Any = graph.definitions.get(one)
        if op_name(definition) in CONVOLUTIONS:
            found[one] = max(found.get(one, 0), depth)
        elif op_name(definition) in STEPS and depth < MOST_STEPS:
            waiting += [(_field(graph, arg), depth + 1) for arg in definition.args]
    return sorted(found, key=lambda one: found[one], reverse=True)


def _described(graph: Graph, root: Any) -> tuple[Any, Convolution, Array] | None:
    """Return the image, the convolution and its filters; None for what the kernel does not compute."""
    call = graph.definitions[root]
    x, weight, shape = call.args[0], graph.constant(call.args[1]), static_shape(call.args[0])
    attrs = call.attrs
    layout = str(attrs.data_layout)
    if weight is None or shape is None or weight.dtype != np.float32 or not is_float32(x) or not is_float32(root):
        return None
    if LAYOUTS.get(layout) != str(attrs.kernel_layout) or str(attrs.out_layout or layout) != layout:
        return None
    strides, padding, dilation = ([int(v) for v in values] for values in (attrs.strides, attrs.padding, attrs.dilation))
    of_rows = len(shape) == 3
    if of_rows:
        shape, weight = (shape[0], 1, *shape[1:]), weight[None]
        strides, dilation, padding = [1, *strides], [1, *dilation], [0, padding[0], 0, padding[1]]
    batch, height, width, channels = shape
    kh, kw, _, filters = weight.shape
    conv = Convolution(
        batch,
        (height, width),
        channels,
        filters,
        (kh, kw),
        (strides[0], strides[1]),
        (padding[0], padding[1], padding[2], padding[3]),
        (dilation[0], dilation[1]),
        int(attrs.groups),
        of_rows=of_rows,
    )
    turned = graph.call(x, "relax.permute_dims")
    if turned is not None and [int(a) for a in turned.attrs.axes or ()] == PLANAR and channels <= 4 < filters:
        return turned.args[0], replace(conv, planar=True), weight
    return (x, conv, weight) if min(conv.result) > 0 else None


class Steps:
    """Collect the steps behind a convolution; a norm's factors go into the filters."""

    def __init__(self, graph: Graph, root: Any, weight: Array) -> None:
        self.graph, self.root, self.filters = graph, root, weight.shape[-1]
        self.weight, self.shift = weight, np.zeros(self.filters, np.float32)
        self._scale, self._offset = np.ones(self.filters), np.zeros(self.filters)
        self._steps: list[Step] = []
        self.channels: list[Array] = []
        self.tensors: list[Any] = []
        self._known: dict[Any, Operand] = {}
        self._seen: dict[Any, int] = {}
        self._open = True
        self._leads: dict[Any, bool] = {}

    @property
    def epilogue(self) -> Epilogue:
        return Epilogue(tuple(self._steps), len(self.channels), len(self.tensors))

    def take(self, value: Any) -> bool:
        """Take all steps up to ``value``; return False if one of them is not fit or read elsewhere, too."""
        value = _field(self.graph, value)
        if self._operand(value) is None or len(self._steps) > MOST_STEPS:
            return False
        if any(self._uses(one) != seen for one, seen in self._seen.items() if not one.same_as(value)):
            return False
        self.weight = (self.weight * self._scale).astype(np.float32)
        self.shift = self._offset.astype(np.float32)
        return True

    def _uses(self, value: Any) -> int:
        """Return how often a value is read, also behind tuples and other names."""
        count = self.graph.uses(value)
        for binding in self.graph.tuples(value):
            users = [b for b in self.graph.bindings if _takes(b.value, binding.var)]
            at = [i for i, f in enumerate(binding.value.fields) if f.same_as(value)]
            count += sum(self._uses(b.var) for b in users if b.value.index in at) - 1
            count += self.graph.uses(binding.var) - len(users)
        return count

    def _operand(self, value: Any) -> Operand | None:
        """Return the operand that stands for a value that the convolution leads to."""
        self._seen[value] = self._seen.get(value, 0) + 1
        if value in self._known:
            return self._known[value]
        if value.same_as(self.root):
            found: Operand | None = Operand("value")
        else:
            found = self._step(value)
        if found is not None:
            self._known[value] = found
        return found

    def _step(self, value: Any) -> Operand | None:
        call: Any = self.graph.definitions.get(value)
        if op_name(call) not in STEPS or static_shape(value) != static_shape(self.root):
            return None
        name, operands = STEPS[op_name(call)], []
        args = [_field(self.graph, arg) for arg in call.args]
        inside = [arg for arg in args if self._leads_to_root(arg)]
        if len({id(arg) if not isinstance(arg, relax.Var) else arg for arg in inside}) < len(inside):
            inside = inside[:1]
        for arg in args:
            found = self._operand(arg) if any(arg.same_as(one) for one in inside) else self._leaf(arg)
            if found is None:
                return None
            operands.append(found)
            if len(args) == 2 and args[0].same_as(args[1]):
                operands.append(found)
                break
        if self._folds(name, args, operands):
            return Operand("value")
        if _changes_nothing(name, operands):
            return operands[0]
        self._open = False
        self._steps.append(Step(name, tuple(operands)))
        return Operand("value", len(self._steps))

    def _leads_to_root(self, value: Any) -> bool:
        if value in self._leads:
            return self._leads[value]
        definition: Any = self.graph.definitions.get(value) if isinstance(value, relax.Var) else None
        found = isinstance(value, relax.Var) and value.same_as(self.root)
        if not found and op_name(definition) in STEPS and static_shape(value) == static_shape(self.root):
            found = any(self._leads_to_root(_field(self.graph, arg)) for arg in definition.args)
        self._leads[value] = found
        return found

    def _leaf(self, value: Any) -> Operand | None:
        """Return the operand that stands for a constant or for another tensor of the same shape."""
        constant = self.graph.constant(value)
        if constant is not None:
            if constant.dtype != np.float32:
                return None
            if constant.size == 1:
                return Operand("scalar", number=float(constant.reshape(())))
            if constant.size != self.filters or (constant.ndim > 0 and constant.shape[-1] != self.filters):
                return None
            self.channels.append(np.ascontiguousarray(constant.reshape(-1)))
            return Operand("channel", len(self.channels) - 1)
        if not is_float32(value) or static_shape(value) != static_shape(self.root):
            return None
        for at, known in enumerate(self.tensors):
            if known.same_as(value):
                return Operand("tensor", at)
        self.tensors.append(value)
        return Operand("tensor", len(self.tensors) - 1)

    def _folds(self, name: str, args: list[Any], operands: list[Operand]) -> bool:
        """Fold a step with a number or an array of channels into the filters, if nothing else reads its input."""
        if not self._open or name not in ("add", "subtract", "multiply", "divide") or len(operands) != 2:
            return False
        at = next((i for i, one in enumerate(operands) if one == Operand("value")), None)
        if at is None or self._uses(args[at]) != 1 or operands[1 - at].kind not in ("scalar", "channel"):
            return False
        other = operands[1 - at]
        if at == 1 and name == "divide":
            return False
        number = np.float64(other.number) if other.kind == "scalar" else self.channels[other.at].astype(np.float64)
        if not np.all(np.isfinite(number)) or (name == "divide" and np.any(number == 0)):
            return False
        if other.kind == "channel":
            self.channels.pop()
        if name in ("multiply", "divide"):
            factor = number if name == "multiply" else 1 / number
            self._scale, self._offset = self._scale * factor, self._offset * factor
        elif name == "add":
            self._offset = self._offset + number
        elif at == 0:
            self._offset = self._offset - number
        else:
            self._scale, self._offset = -self._scale, number - self._offset
        return True


def _takes(value: Any, of: Any) -> bool:
    return isinstance(value, relax.TupleGetItem) and value.tuple_value.same_as(of)


def _changes_nothing(name: str, operands: list[Operand]) -> bool:
    """Return whether a step bounds its first operand by infinity, as torch.clamp with one bound does."""
    if name not in ("maximum", "minimum") or operands[1].kind != "scalar":
        return False
    return operands[1].number == (float("-inf") if name == "maximum" else float("inf"))
