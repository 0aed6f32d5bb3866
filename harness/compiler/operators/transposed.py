"""Define a transposed convolution whose filters do not overlap: each pixel of its image becomes a few of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from harness.compiler.graph.graph import Array, Graph, is_float32, static_shape
from harness.compiler.kernels.convolution import convolution_kernel
from harness.compiler.kernels.panels import Convolution, pack_filters
from harness.compiler.operators.operator import FusedOperator, Lowering, Match, OpTable, array

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
"""The axes of an image when channels become the last, and the first."""


@dataclass(frozen=True)
class TransposedOp(FusedOperator):
    """Arguments: x [N, H, W, C], filters [1, 1, C, rows x columns x O], shift [O]."""

    convolution: Convolution

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        if not is_float32(value):
            return None
        inner = _turned(graph, value, LAST)
        if inner is not None and graph.uses(inner) != 1:
            return None
        found = _transposed(graph, value if inner is None else inner)
        if found is None:
            return None
        conv, x, weight, shift = found
        image = _turned(graph, x, FIRST)
        given = relax.op.permute_dims(x, LAST) if image is None else image
        args = (given, weight, shift)
        if inner is not None:
            return Match(cls(conv), args, value.ty)
        ty = relax.TensorType(conv.result_shape, "float32")
        return Match(cls(conv), args, ty, wrap=lambda result: relax.op.permute_dims(result, FIRST))

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        kernel = convolution_kernel(lowering.profile, self.convolution)
        packed = relax.const(pack_filters(self.convolution, array(args[1]), lowering.profile))
        return lowering.call(kernel, [args[0], packed, args[2]], call.ty)


def _turned(graph: Graph, value: Any, axes: list[int]) -> Any:
    """Return the image that a value is with other axes."""
    call = graph.call(value, "relax.permute_dims")
    same = call is not None and [int(axis) for axis in call.attrs.axes or ()] == axes
    return call.args[0] if same and call is not None else None


def _transposed(graph: Graph, value: Any) -> tuple[Convolution, Any, Array, Array] | None:
    """Find a transposed convolution, or the sum of one and its bias, with channels first."""
    total, shift = graph.call(value, "relax.add"), None
    if total is not None:
        for side, other in (total.args, total.args[::-1]):
            shift = graph.constant(other)
            if (
                shift is not None
                and graph.uses(side) == 1
                and shift.shape in ((1, shift.size, 1, 1), (shift.size, 1, 1))
            ):
                value = side
                break
        else:
            return None
    call = graph.call(value, "relax.nn.conv2d_transpose")
    if call is None or not is_float32(call.args[0]):
        return None
    attrs, shape, weight = call.attrs, static_shape(call.args[0]), graph.constant(call.args[1])
    if weight is None or shape is None or (str(attrs.data_layout), str(attrs.kernel_layout)) != ("NCHW", "IOHW"):
        return None
    strides = tuple(int(stride) for stride in attrs.strides)
    plain = not any(int(v) for v in (*attrs.padding, *attrs.output_padding)) and int(attrs.groups) == 1
    channels, filters, *kernel = weight.shape
    if not plain or strides != tuple(kernel) or any(int(v) != 1 for v in attrs.dilation):
        return None
    if shift is not None and shift.size != filters:
        return None
    batch, _, height, width = shape
    conv = Convolution(batch, (height, width), channels, filters, (1, 1), spread=(kernel[0], kernel[1]))
    turned = weight.transpose(0, 2, 3, 1).reshape(1, 1, channels, -1)
    offset = np.zeros(filters, np.float32) if shift is None else shift.reshape(-1).astype(np.float32)
    return conv, call.args[0], np.ascontiguousarray(turned), offset
