"""Define importer entries for torch operators that TVM 0.27's importer lacks or gets wrong.

:func:`converters` is the registry: those of this repository, of the fused operators and of installed packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.errors import BadExtension
from harness.compiler.extensions import IMPORTERS, load
from harness.compiler.importer.attention import dot_attention
from harness.compiler.importer.complexes import FORMS, LAYOUT, with_complex
from harness.compiler.importer.fourier import strided
from harness.compiler.importer.images import average_pool, bilinear, grid_sample, nearest
from harness.compiler.importer.indexing import index, select, slice_of_any
from harness.compiler.importer.lookups import arange, embedding_bag, full, shift, triangle, unfold
from harness.compiler.importer.norms import group_norm, layer_norm
from harness.compiler.importer.quantizing import dequantize, fake_quantize, quantize
from harness.compiler.importer.recurrent import recurrent_layer
from harness.compiler.importer.scattering import gather, index_put, scatter, scatter_reduce
from harness.compiler.importer.sorting import kth_value, median, sort, topk
from harness.compiler.importer.unsupported import BoundConverter, operator_name
from harness.compiler.operators import operators
from harness.compiler.operators.operator import Converter, OpTable
from harness.core.plugins import entries


def _arguments(node: fx.Node, importer: Any, *usual: Any) -> list[Any]:
    """Return the arguments given by position, and the usual ones for the rest."""
    given: list[Any] = list(importer.retrieve_args(node))
    return [*given, *usual[len(given) :]]


def _reduced(reduce: Callable[..., relax.Expr]) -> Converter:
    """Reduce over some axes, or all."""

    def convert(node: fx.Node, importer: Any, _table: OpTable) -> relax.Var:
        x, axes, keep = _arguments(node, importer, None, None, False)
        # For torch, no axes means all of them.
        axes = None if axes in ([], None) else axes
        emit, keep = importer.block_builder.emit, bool(node.kwargs.get("keepdim", keep))
        if str(x.ty.dtype) != "bool":
            return emit(reduce(x, axes, keepdims=keep))
        return emit(relax.op.astype(emit(reduce(emit(relax.op.astype(x, "int8")), axes, keepdims=keep)), "bool"))

    return convert


def _best(reduce: Callable[..., relax.Expr], place: Callable[..., relax.Expr]) -> Converter:
    """Find the largest or smallest along an axis and its place. TVM's importer would sort."""

    def convert(node: fx.Node, importer: Any, _table: OpTable) -> tuple[relax.Var, relax.Var]:
        x, axis, keep = _arguments(node, importer, None, -1, False)
        keep, emit, kind = bool(node.kwargs.get("keepdim", keep)), importer.block_builder.emit, str(x.ty.dtype)
        x = emit(relax.op.astype(x, "int8")) if kind == "bool" else x
        most = emit(reduce(x, axis, keepdims=keep))
        most = emit(relax.op.astype(most, kind)) if kind == "bool" else most
        return most, emit(place(x, axis, keepdims=keep))

    return convert


def _weighed(combine: Callable[..., relax.Expr], name: str) -> Converter:
    """Add or subtract ``alpha`` times the other, which TVM's importer drops."""

    def convert(node: fx.Node, importer: Any, _table: OpTable) -> Any:
        x, other, alpha = _arguments(node, importer, None, None, 1)
        alpha = node.kwargs.get("alpha", alpha)
        if str(getattr(getattr(x, "ty", None), "dtype", "")) == "bool" and isinstance(other, relax.Expr):
            return importer.block_builder.emit(relax.op.logical_or(x, other))
        if alpha == 1:
            return importer.create_convert_map()[name](node)
        emit, kind = importer.block_builder.emit, str(x.ty.dtype)
        if isinstance(other, int | float):
            return emit(combine(x, relax.const(alpha * other, kind)))
        return emit(combine(x, emit(relax.op.multiply(other, relax.const(alpha, kind)))))

    return convert


def _rounded_quotient(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Divide and round, in the result's type also by a number."""
    x, other = importer.retrieve_args(node)[:2]
    emit, kind, mode = importer.block_builder.emit, str(x.ty.dtype), node.kwargs.get("rounding_mode")
    other = other if isinstance(other, relax.Expr) else relax.const(other, kind)
    if mode == "floor":
        return emit(relax.op.floor_divide(x, other))
    quotient = emit(relax.op.divide(x, other))
    # TVM's quotient of integers is rounded towards zero.
    return emit(relax.op.trunc(quotient)) if mode == "trunc" and kind.startswith("float") else quotient


def _product(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Multiply matrices in their own type. TVM's importer makes float32 of every product."""
    x, other, *rest = importer.retrieve_args(node)
    emit, kind, name = importer.block_builder.emit, str(x.ty.dtype), operator_name(node)
    if kind == "float32":
        return importer.create_convert_map()[name](node)
    if name in ("addmm.default", "baddbmm.default"):
        alpha, beta = (relax.const(node.kwargs.get(one, 1), kind) for one in ("alpha", "beta"))
        product = emit(relax.op.multiply(emit(relax.op.matmul(other, rest[0], out_dtype=kind)), alpha))
        return emit(relax.op.add(product, emit(relax.op.multiply(x, beta))))
    if name == "linear.default":
        product = emit(relax.op.matmul(x, emit(relax.op.permute_dims(other)), out_dtype=kind))
        return emit(relax.op.add(product, rest[0])) if rest and rest[0] is not None else product
    return emit(relax.op.matmul(x, other, out_dtype=kind))


def _multiplied(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Multiply; of truth values, both have to be true."""
    x, other = importer.retrieve_args(node)[:2]
    sides = [str(getattr(getattr(side, "ty", None), "dtype", "")) for side in (x, other)]
    if sides == ["bool", "bool"]:
        return importer.block_builder.emit(relax.op.logical_and(x, other))
    return importer.create_convert_map()[operator_name(node)](node)


def _clamp(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Bound integers on one side or both. TVM's importer gives them infinity for a missing bound."""
    x, least, most = _arguments(node, importer, None, None, None)
    least, most = node.kwargs.get("min", least), node.kwargs.get("max", most)
    kind = str(x.ty.dtype)
    if kind.startswith("float"):
        return importer._clamp(node)
    for bound, choose in ((least, relax.op.maximum), (most, relax.op.minimum)):
        if bound is not None:
            x = importer.block_builder.emit(choose(x, relax.const(bound, kind)))
    return x


def _clamp_by_tensors(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    x, least, most = _arguments(node, importer, None, None, None)
    for bound, choose in (
        (importer.env.get(node.kwargs.get("min"), least), relax.op.maximum),
        (importer.env.get(node.kwargs.get("max"), most), relax.op.minimum),
    ):
        x = x if bound is None else importer.block_builder.emit(choose(x, bound))
    return x


def _extreme(truth: Callable[..., relax.Expr]) -> Converter:
    """Find the larger or smaller of two; of truth values it is one of their operators."""

    def convert(node: fx.Node, importer: Any, _table: OpTable) -> Any:
        x, other = importer.retrieve_args(node)[:2]
        if str(x.ty.dtype) == "bool":
            return importer.block_builder.emit(truth(x, other))
        return importer.create_convert_map()[operator_name(node)](node)

    return convert


def _of_fractions(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Refuse whole numbers, for which TVM's operator is wrong or fails without a name."""
    if not str(importer.retrieve_args(node)[0].ty.dtype).startswith("float"):
        raise ValueError("whole numbers: convert them with .float() before it")
    return importer.create_convert_map()[operator_name(node)](node)


def _any(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Find whether any number is not 0."""
    x, axes, keep = _arguments(node, importer, None, None, False)
    emit, kind = importer.block_builder.emit, str(x.ty.dtype)
    if kind != "bool":
        x = emit(relax.op.not_equal(x, relax.const(0, kind)))
    axes, keep = None if axes == [] else axes, bool(node.kwargs.get("keepdim", keep))
    most = emit(relax.op.max(emit(relax.op.astype(x, "int8")), axes, keepdims=keep))
    return emit(relax.op.astype(most, "bool"))


def _elu(node: fx.Node, importer: Any, _table: OpTable) -> relax.Var:
    """Convert elu with the scales of celu and selu, which TVM's importer drops."""
    x, alpha, scale, inner = _arguments(node, importer, None, 1.0, 1.0, 1.0)
    emit, kind = importer.block_builder.emit, str(x.ty.dtype)
    if (scale, inner) == (1.0, 1.0):
        return importer._elu(node)
    bent = emit(relax.op.exp(emit(relax.op.multiply(x, relax.const(inner, kind)))))
    below = emit(relax.op.nn.relu(emit(relax.op.subtract(relax.const(1.0, kind), bent))))
    above = emit(relax.op.multiply(emit(relax.op.nn.relu(x)), relax.const(scale, kind)))
    return emit(relax.op.subtract(above, emit(relax.op.multiply(below, relax.const(alpha * scale, kind)))))


BUILT_IN: Mapping[str, Converter] = {
    "__lshift__.Scalar": shift,
    "__lshift__.Tensor": shift,
    "__rshift__.Scalar": shift,
    "__rshift__.Tensor": shift,
    "_embedding_bag.default": embedding_bag,
    "_embedding_bag_forward_only.default": embedding_bag,
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default": fake_quantize,
    "add.Scalar": _weighed(relax.op.add, "add.Scalar"),
    "add.Tensor": _weighed(relax.op.add, "add.Tensor"),
    "addmm.default": _product,
    "amax.default": _reduced(relax.op.max),
    "amin.default": _reduced(relax.op.min),
    "any.default": _any,
    "any.dim": _any,
    "any.dims": _any,
    "arange.start_step": arange,
    "as_strided.default": strided,
    "avg_pool2d.default": average_pool,
    "baddbmm.default": _product,
    "bitwise_left_shift.Tensor": shift,
    "bitwise_left_shift.Tensor_Scalar": shift,
    "bitwise_right_shift.Tensor": shift,
    "bitwise_right_shift.Tensor_Scalar": shift,
    "bmm.default": _product,
    "clamp.Tensor": _clamp_by_tensors,
    "clamp.default": _clamp,
    "dequantize_per_channel.default": dequantize,
    "dequantize_per_tensor.default": dequantize,
    "dequantize_per_tensor.tensor": dequantize,
    "div.Scalar_mode": _rounded_quotient,
    "div.Tensor_mode": _rounded_quotient,
    "elu.default": _elu,
    "fake_quantize_per_channel_affine_cachemask.default": fake_quantize,
    "fake_quantize_per_tensor_affine_cachemask.default": fake_quantize,
    "fill.Scalar": full,
    "full.default": full,
    "full_like.default": full,
    "gather.default": gather,
    "grid_sampler_2d.default": grid_sample,
    "index.Tensor": index,
    "index_put.default": index_put,
    "kthvalue.default": kth_value,
    "layer_norm.default": layer_norm,
    "linear.default": _product,
    "matmul.default": _product,
    "max.default": _reduced(relax.op.max),
    "max.other": _extreme(relax.op.logical_or),
    "max_pool2d_with_indices.default": _of_fractions,
    "max_pool3d_with_indices.default": _of_fractions,
    "maximum.default": _extreme(relax.op.logical_or),
    "max.dim": _best(relax.op.max, relax.op.argmax),
    "median.default": median,
    "median.dim": median,
    "min.default": _reduced(relax.op.min),
    "min.other": _extreme(relax.op.logical_and),
    "minimum.default": _extreme(relax.op.logical_and),
    "min.dim": _best(relax.op.min, relax.op.argmin),
    "mm.default": _product,
    "mul.Tensor": _multiplied,
    "native_group_norm.default": group_norm,
    "pow.Tensor_Tensor": _of_fractions,
    "prod.default": _reduced(relax.op.prod),
    "prod.dim_int": _reduced(relax.op.prod),
    "quantize_per_channel.default": quantize,
    "quantize_per_tensor.default": quantize,
    "quantize_per_tensor.tensor": quantize,
    "recurrent.default": recurrent_layer,
    "scaled_dot_product_attention.default": dot_attention,
    "scatter.reduce": scatter,
    "scatter.src": scatter,
    "scatter.value": scatter,
    "scatter.value_reduce": scatter,
    "scatter_add.default": scatter,
    "scatter_reduce.two": scatter_reduce,
    "select.int": select,
    "slice.Tensor": slice_of_any,
    "sort.default": sort,
    "sort.stable": sort,
    "sub.Scalar": _weighed(relax.op.subtract, "sub.Scalar"),
    "sub.Tensor": _weighed(relax.op.subtract, "sub.Tensor"),
    "topk.default": topk,
    "tril_indices.default": triangle,
    "triu_indices.default": triangle,
    "unfold.default": unfold,
    "upsample_bilinear2d.vec": bilinear,
    "upsample_nearest2d.vec": nearest,
}
"""This repository's entries by torch's names of the operators."""


def converters(table: OpTable) -> dict[str, BoundConverter]:
    """Return all importer entries by torch's names of the operators.

    Raises BadExtension if an installed package offers an entry that cannot be used, or that is there already.
    """
    found = dict(BUILT_IN)
    # Earlier operators win.
    for operator in reversed(operators()):
        found |= operator.converters()
    for entry in entries(IMPORTERS):
        if entry.name in found:
            raise BadExtension(entry, f"is there already, in {getattr(found[entry.name], '__module__', 'a package')}")
        convert = load(entry)
        if not callable(convert):
            raise BadExtension(entry, "is no function")
        found[entry.name] = convert
    bound: dict[str, BoundConverter] = {name: partial(_bound, convert, table) for name, convert in found.items()}
    return bound | {name: with_complex(name, bound.get(name)) for name in (*FORMS, *LAYOUT)}


def _bound(convert: Converter, table: OpTable, node: fx.Node, importer: Any) -> Any:
    return convert(node, importer, table)
