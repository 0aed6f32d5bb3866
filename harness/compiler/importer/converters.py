"""Define importer entries for torch operators that TVM 0.27's importer lacks or gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.importer.attention import dot_attention
from harness.compiler.importer.indexing import index, select, slice_of_any
from harness.compiler.importer.recurrent import recurrent_layer
from harness.compiler.importer.unsupported import Converter
from harness.compiler.operators import operators
from harness.compiler.operators.operator import Converter as OperatorConverter
from harness.compiler.operators.operator import OpTable


def _arguments(node: fx.Node, importer: Any, *usual: Any) -> list[Any]:
    """Return the arguments given by position, and the usual ones for the rest."""
    given: list[Any] = list(importer.retrieve_args(node))
    return [*given, *usual[len(given) :]]


def _reduced(reduce: Callable[..., relax.Expr]) -> Converter:
    """Reduce over some axes, or all."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        x, axes, keep = _arguments(node, importer, None, None, False)
        # For torch, no axes means all of them.
        axes = None if axes in ([], None) else axes
        return importer.block_builder.emit(reduce(x, axes, keepdims=bool(node.kwargs.get("keepdim", keep))))

    return convert


def _best(reduce: Callable[..., relax.Expr], place: Callable[..., relax.Expr]) -> Converter:
    """Find the largest or smallest along an axis and its place. TVM's importer would sort."""

    def convert(node: fx.Node, importer: Any) -> tuple[relax.Var, relax.Var]:
        x, axis, keep = _arguments(node, importer, None, -1, False)
        keep, emit = bool(node.kwargs.get("keepdim", keep)), importer.block_builder.emit
        return emit(reduce(x, axis, keepdims=keep)), emit(place(x, axis, keepdims=keep))

    return convert


def _elu(node: fx.Node, importer: Any) -> relax.Var:
    """Convert elu with the scales of celu and selu, which TVM's importer drops."""
    x, alpha, scale, inner = _arguments(node, importer, None, 1.0, 1.0, 1.0)
    emit, kind = importer.block_builder.emit, str(x.ty.dtype)
    if (scale, inner) == (1.0, 1.0):
        return importer._elu(node)
    bent = emit(relax.op.exp(emit(relax.op.multiply(x, relax.const(inner, kind)))))
    below = emit(relax.op.nn.relu(emit(relax.op.subtract(relax.const(1.0, kind), bent))))
    above = emit(relax.op.multiply(emit(relax.op.nn.relu(x)), relax.const(scale, kind)))
    return emit(relax.op.subtract(above, emit(relax.op.multiply(below, relax.const(alpha * scale, kind)))))


REDUCTIONS: dict[str, Converter] = {
    "amax.default": _reduced(relax.op.max),
    "amin.default": _reduced(relax.op.min),
    "any.default": lambda node, importer: importer._any(node),
    "prod.default": _reduced(relax.op.prod),
    "prod.dim_int": _reduced(relax.op.prod),
    "max.dim": _best(relax.op.max, relax.op.argmax),
    "min.dim": _best(relax.op.min, relax.op.argmin),
}


def converters(table: OpTable) -> dict[str, Converter]:
    """Return importer entries by operator name, for ``from_exported_program(custom_convert_map=...)``."""
    found: dict[str, Converter] = {
        "index.Tensor": index,
        "select.int": select,
        "slice.Tensor": slice_of_any,
        **REDUCTIONS,
        "elu.default": _elu,
        "scaled_dot_product_attention.default": dot_attention(table),
        "recurrent.default": recurrent_layer(table),
    }
    # Earlier operators win.
    for operator in reversed(operators()):
        found |= {name: _bound(convert, table) for name, convert in operator.converters().items()}
    return found


def _bound(convert: OperatorConverter, table: OpTable) -> Converter:
    return lambda node, importer: convert(node, importer, table)
