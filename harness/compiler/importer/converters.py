"""How TVM's importer reads torch operators that it has no good word for: as operators of our own.

Those of :mod:`harness.models.g2p.ops` work on caches; torch's attention is kept whole (TVM 0.27's importer would
drop its ``scale``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx
from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.importer.indexing import index, select, slice_of_any
from harness.compiler.importer.recurrent import recurrent_layer
from harness.compiler.operators.operator import (
    AppendAndAttendOp,
    AttendMemoryOp,
    DotAttentionOp,
    OpTable,
    StoreMemoryOp,
)

Converter = Callable[[fx.Node, Any], relax.Var]

HIDDEN = -1e30
"""What a boolean mask adds where it is false: its exponential is 0, and a row that is all hidden stays finite."""


WITHOUT_HEADS = {2: [0, 1], 3: [1]}
"""Which axes are missing where attention is given as many."""


def _additive(mask: relax.Var) -> relax.Call:
    return relax.op.where(mask, relax.const(0.0, "float32"), relax.const(HIDDEN, "float32"))


def _with_heads(tensor: Any, axes: int) -> Any:
    """A side of attention, or its mask, as [B, H, S, K], where the sides have ``axes`` axes: [S, K], [B, S, K], or
    all. A mask's missing axes are the first ones."""
    missing = axes - len(tensor.ty.shape.values)
    whole = relax.op.expand_dims(tensor, list(range(missing))) if missing else tensor
    return relax.op.expand_dims(whole, WITHOUT_HEADS[axes]) if axes in WITHOUT_HEADS else whole


def _repeated(tensor: Any, query: Any) -> Any:
    """Keys or values [B, G, S, K] for each of the H queries' heads: neighbours share one."""
    heads, groups = (int(side.ty.shape.values[1]) for side in (query, tensor))
    return tensor if heads == groups else relax.op.repeat(tensor, heads // groups, axis=1)


def _causal(builder: relax.BlockBuilder, queries: Any, keys: Any) -> Any:
    """Which of the keys each query sees: those no further than itself, bool [queries, keys]."""
    rows, columns = (builder.emit(relax.op.arange(0, extent, 1, "int64")) for extent in (queries, keys))
    return builder.emit(relax.op.less_equal(columns, builder.emit(relax.op.expand_dims(rows, 1))))


def _arguments(node: fx.Node, importer: Any, *usual: Any) -> list[Any]:
    """Those given by position, and the usual ones for the rest."""
    given: list[Any] = list(importer.retrieve_args(node))
    return [*given, *usual[len(given) :]]


def _reduced(reduce: Callable[..., relax.Expr]) -> Converter:
    """Over some axes, or all."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        x, axes, keep = _arguments(node, importer, None, None, False)
        # torch takes no axes for all of them.
        axes = None if axes in ([], None) else axes
        return importer.block_builder.emit(reduce(x, axes, keepdims=bool(node.kwargs.get("keepdim", keep))))

    return convert


def _best(reduce: Callable[..., relax.Expr], place: Callable[..., relax.Expr]) -> Converter:
    """The largest or smallest along an axis and where it stands. TVM's importer would sort."""

    def convert(node: fx.Node, importer: Any) -> tuple[relax.Var, relax.Var]:
        x, axis, keep = _arguments(node, importer, None, -1, False)
        keep, emit = bool(node.kwargs.get("keepdim", keep)), importer.block_builder.emit
        return emit(reduce(x, axis, keepdims=keep)), emit(place(x, axis, keepdims=keep))

    return convert


def _elu(node: fx.Node, importer: Any) -> relax.Var:
    """With the scales that celu and selu are made of, which TVM's importer drops."""
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
    """Importer entries by operator name, for ``from_exported_program(custom_convert_map=...)``."""

    def values(node: fx.Node, importer: Any) -> list[Any]:
        return [importer.env[a] if isinstance(a, fx.Node) else a for a in node.args]

    def append_and_attend(node: fx.Node, importer: Any) -> relax.Var:
        *tensors, layer, heads = values(node, importer)
        qkv, cache = tensors[0], tensors[4]
        rows, width = qkv.ty.shape.values
        context = relax.TensorType([rows, int(width) // 3], "float32")
        call = table.call(AppendAndAttendOp(layer, heads), tensors, [context, cache.ty])
        return importer.block_builder.emit(call)

    def attend_memory(node: fx.Node, importer: Any) -> relax.Var:
        *tensors, layer, heads = values(node, importer)
        return importer.block_builder.emit(table.call(AttendMemoryOp(layer, heads), tensors, tensors[0].ty))

    def store_memory(node: fx.Node, importer: Any) -> relax.Var:
        source, heads, capacity, dtype = values(node, importer)
        batch, _, layers, _, width = source.ty.shape.values
        memory = relax.TensorType([batch, layers, 2, capacity * int(width)], str(dtype).removeprefix("torch."))
        return importer.block_builder.emit(table.call(StoreMemoryOp(heads), [source], memory))

    def dot_attention(node: fx.Node, importer: Any) -> relax.Var:
        query, key, value, *rest = values(node, importer)
        options = dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False))
        options |= {k: importer.env[v] if isinstance(v, fx.Node) else v for k, v in node.kwargs.items()}
        axes, emit = len(query.ty.shape.values), importer.block_builder.emit
        scale = options.get("scale")
        alike = structural_equal(query.ty.shape.values[-1], value.ty.shape.values[-1])
        if not 2 <= axes <= 4 or str(query.ty.dtype) != "float32" or not alike:
            if scale is not None:
                raise ValueError(f"attention of {query.ty} and {value.ty} with a scale of its own")
            return importer._scaled_dot_product_attention(node)
        sides = [emit(_with_heads(side, axes)) for side in (query, key, value)]
        if options.get("enable_gqa"):
            sides[1:] = [emit(_repeated(side, sides[0])) for side in sides[1:]]
        mask = options.get("attn_mask")
        if options.get("is_causal"):
            mask = _causal(importer.block_builder, *(side.ty.shape.values[2] for side in sides[:2]))
        if mask is not None:
            mask = emit(_with_heads(mask, axes))
            bounded = _additive(mask) if str(mask.ty.dtype) == "bool" else relax.op.astype(mask, "float32")
            sides.append(emit(bounded))
        size = int(query.ty.shape.values[-1])
        op = DotAttentionOp(float(scale) if scale is not None else size**-0.5)
        found = emit(table.call(op, sides, sides[0].ty))
        return emit(relax.op.squeeze(found, WITHOUT_HEADS[axes])) if axes in WITHOUT_HEADS else found

    return {
        "index.Tensor": index,
        "select.int": select,
        "slice.Tensor": slice_of_any,
        **REDUCTIONS,
        "elu.default": _elu,
        "append_and_attend.default": append_and_attend,
        "attend_memory.default": attend_memory,
        "store_memory.default": store_memory,
        "scaled_dot_product_attention.default": dot_attention,
        "recurrent.default": recurrent_layer(table),
    }
