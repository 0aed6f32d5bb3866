"""Define attention of all rows: its layout operations vanish into the kernel, its projections become one product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from tvm import relax

from harness.compiler.graph.graph import Graph, extents
from harness.compiler.kernels import attention_rows
from harness.compiler.kernels.attention import Heads
from harness.compiler.kernels.attention_rows import AllRows, Side
from harness.compiler.kernels.kernel import Dim
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable
from harness.compiler.operators.product import Linear, ProductOp, match_linear, mergeable, merged

HEADS_FIRST = [0, 2, 1, 3]


@dataclass(frozen=True)
class DotAttentionOp(FusedOperator):
    """torch's scaled_dot_product_attention, as the importer makes it; the pattern of :class:`AttentionOp` takes it.

    Arguments: query, key, value [B, H, S, K], mask (if any).
    """

    scale: float

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        raise ValueError(f"FusePatterns left attention of {call.ty} behind: its heads or their size are not static")


@dataclass(frozen=True)
class AttentionOp(FusedOperator):
    """Arguments: the sides' tensors, each once; bias (if any). ``sides``: where queries, keys and values lie."""

    heads: int
    size: int
    scale: float
    sides: tuple[Side, Side, Side]
    has_bias: bool

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        """Find torch's attention, with the transposition and reshape after it if there are any.

        ``value`` is either [B, S, H * K], made from the attention's [B, H, S, K] by permute_dims and reshape, or the
        attention itself.
        """
        joined = _joined_heads(graph, value)
        found = table.read(graph.definition(value if joined is None else joined))
        if found is None or not isinstance(found[0], DotAttentionOp):
            return None
        op, args = found[0], found[1]
        query, key, _ = (extents(argument) for argument in args[:3])
        if query is None or key is None or not isinstance(query[1], int) or not isinstance(query[3], int):
            return None
        sides, tensors = _sides(graph, args[:3], query[1] * query[3])
        bias = args[3:]
        attention = cls(query[1], query[3], op.scale, sides, bool(bias))
        rows = relax.TensorType((query[0], query[2], query[1] * query[3]), "float32")
        if joined is not None:
            return Match(attention, (*tensors, *bias), rows)
        split = relax.ShapeExpr([query[0], query[2], query[1], query[3]])
        return Match(
            attention,
            (*tensors, *bias),
            rows,
            wrap=lambda context: relax.op.permute_dims(relax.op.reshape(context, split), HEADS_FIRST),
        )

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        dims = Dims()
        tensors = list(dict.fromkeys(side.tensor for side in self.sides))
        shapes = {name: dims.of(arg) for name, arg in zip(tensors, args, strict=False)}
        batch, queries, _ = shapes[self.sides[0].tensor]
        bias = dims.of(args[-1]) if self.has_bias else None
        shape = AllRows(
            heads=Heads(self.heads, self.size),
            scale=self.scale,
            batch=batch,
            queries=queries,
            keys=shapes[self.sides[1].tensor][1],
            sides=self.sides,
            bias=cast("tuple[Dim, Dim, Dim, Dim] | None", bias),
        )
        return lowering.call(attention_rows.attend_all(lowering.profile, shape), args, call.ty)


def _joined_heads(graph: Graph, value: Any) -> Any:
    """Find the [B, H, S, K] value that is transposed and reshaped to ``value`` [B, S, H * K]."""
    reshape = graph.call(value, "relax.reshape")
    transposed = None if reshape is None else graph.call(reshape.args[0], "relax.permute_dims")
    if transposed is None or not _is_heads_first(transposed) or graph.uses(transposed.args[0]) != 1:
        return None
    before, after = extents(transposed.args[0]), extents(value)
    if before is None or after is None or len(after) != 3 or after[2] != before[1] * before[3]:
        return None
    return transposed.args[0]


def _is_heads_first(call: Any) -> bool:
    axes = call.attrs.axes
    return axes is not None and [int(axis) for axis in axes] == HEADS_FIRST


def _split_heads(graph: Graph, value: Any, width: int) -> Any:
    """Find the [B, S, H * K] value that is reshaped and transposed to ``value`` [B, H, S, K]."""
    transposed = graph.call(value, "relax.permute_dims")
    reshape = None if transposed is None else graph.call(transposed.args[0], "relax.reshape")
    if transposed is None or reshape is None or not _is_heads_first(transposed):
        return None
    shape = extents(reshape.args[0])
    return reshape.args[0] if shape is not None and len(shape) == 3 and shape[2] == width else None


def _sides(graph: Graph, values: list[Any], width: int) -> tuple[tuple[Side, Side, Side], list[Any]]:
    """Return where queries, keys and values lie, and the tensors. Products of one input are merged where possible."""
    sources = [_split_heads(graph, value, width) for value in values]
    linears = [None if s is None or graph.uses(s) != 1 else match_linear(graph, s) for s in sources]
    if _can_merge(linears):
        groups = ["qkv"]
    elif _can_merge(linears[1:]):
        groups = ["q", "kv"]
    else:
        groups = ["q", "k", "v"]
    tensors: list[Any] = []
    sides: list[Side] = []
    for group in groups:
        at = len(sides)
        if len(group) == 1:
            tensors.append(_rows(values[at], sources[at], width))
        else:
            parts = [linear for linear in linears[at:] if linear is not None]
            tensors.append(replace(_product(parts, values[at]), ends=tuple(sources[at:])))
        sides += [Side(group, len(group) * width, part * width) for part in range(len(group))]
    query, key, value = sides
    return (query, key, value), tensors


def _can_merge(linears: list[Linear | None]) -> bool:
    present = [linear for linear in linears if linear is not None]
    return len(present) == len(linears) and mergeable(present)


def _product(parts: list[Linear], like: Any) -> Match:
    whole = merged(parts)
    batch, _, length, _ = extents(like) or ()
    args = [whole.x, *whole.norm_args, whole.weight, *([whole.bias] if whole.bias is not None else [])]
    ty = relax.TensorType((batch, length, whole.weight.shape[1]), "float32")
    return Match(ProductOp(whole.product), tuple(args), ty)


def _rows(value: Any, source: Any, width: int) -> Any:
    """Return the value as [B, S, H * K]: the value from which it was made, or layout operations of its own."""
    if source is not None:
        return source
    batch, _, length, _ = extents(value) or ()
    return relax.op.reshape(relax.op.permute_dims(value, HEADS_FIRST), relax.ShapeExpr([batch, length, width]))
