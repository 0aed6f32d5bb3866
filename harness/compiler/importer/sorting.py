"""Define importer entries for operators that sort: ``sort``, ``topk``, ``kthvalue`` and ``median``.

TVM 0.27's importer has some of them, but a later pass cannot name the functions that they become.
"""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.importer.arguments import arguments
from harness.compiler.importer.indexing import number
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.sort import SortOp

Pair = tuple[relax.Var, relax.Var]


def sort(node: fx.Node, importer: Any, table: OpTable) -> Pair:
    """Convert ``sort``, whose stable form has its options by name."""
    given = arguments(node, importer, "self", "dim", "descending", dim=-1, descending=False)
    if str(node.target).endswith("stable"):
        given = arguments(node, importer, "self", "stable", "dim", "descending", dim=-1, descending=False)
    return _sorted(importer, table, given["self"], given["dim"], descending=bool(given["descending"]))


def topk(node: fx.Node, importer: Any, table: OpTable) -> Pair:
    """Convert ``topk`` as the beginning of the whole order."""
    given = arguments(node, importer, "self", "k", "dim", "largest", "sorted", dim=-1, largest=True)
    values, places = _sorted(importer, table, given["self"], given["dim"], descending=bool(given["largest"]))
    emit = importer.block_builder.emit
    first = emit(relax.op.arange(0, given["k"], 1, "int64"))
    values, places = (emit(relax.op.take(whole, first, axis=given["dim"])) for whole in (values, places))
    return values, places


def kth_value(node: fx.Node, importer: Any, table: OpTable) -> Pair:
    given = arguments(node, importer, "self", "k", "dim", "keepdim", dim=-1, keepdim=False)
    place = relax.const(int(given["k"]) - 1, "int64")
    whole = _sorted(importer, table, given["self"], given["dim"], descending=False)
    return _picked(importer, whole, place, given["dim"], keep=bool(given["keepdim"]))


def median(node: fx.Node, importer: Any, table: OpTable) -> Any:
    """Convert ``median`` along an axis or of all elements: the lower of two in the middle, or NaN if there is one."""
    given = arguments(node, importer, "self", "dim", "keepdim", dim=None, keepdim=False)
    emit, x, axis = importer.block_builder.emit, given["self"], given["dim"]
    if axis is None:
        x = emit(relax.op.reshape(x, [-1]))
    values, places = _sorted(importer, table, x, -1 if axis is None else axis, descending=False)
    axis = -1 if axis is None else axis
    extent = number(importer.block_builder, values.ty.shape.values[axis])
    last = emit(relax.op.subtract(extent, relax.const(1, "int64")))
    place = emit(relax.op.floor_divide(last, relax.const(2, "int64")))
    found = _picked(importer, (values, places), place, axis, keep=bool(given["keepdim"]))
    if str(x.ty.dtype).startswith("float"):
        ends = _picked(importer, (values, places), last, axis, keep=bool(given["keepdim"]))
        broken = emit(relax.op.isnan(ends[0]))
        found = (emit(relax.op.where(broken, ends[0], found[0])), emit(relax.op.where(broken, ends[1], found[1])))
    return found[0] if given["dim"] is None else found


def _picked(importer: Any, whole: Pair, place: Any, axis: int, *, keep: bool) -> Pair:
    emit = importer.block_builder.emit
    values, places = (emit(relax.op.take(one, place, axis=axis)) for one in whole)
    if keep:
        values, places = (emit(relax.op.expand_dims(one, axis)) for one in (values, places))
    return values, places


def _sorted(importer: Any, table: OpTable, x: Any, axis: int, *, descending: bool) -> Pair:
    """Return the values in their order along an axis, and the places where they were."""
    emit, rank = importer.block_builder.emit, len(x.ty.shape.values)
    if rank == 0:
        raise ValueError("sorting of a tensor without axes")
    axis %= rank
    order = [*(at for at in range(rank) if at != axis), axis]
    back = [order.index(at) for at in range(rank)]
    rows = x if axis == rank - 1 else emit(relax.op.permute_dims(x, order))
    # The kernel compares numbers.
    wide = {"bool": "int8", "float16": "float32"}.get(str(x.ty.dtype))
    keys = rows if wide is None else emit(relax.op.astype(rows, wide))
    places = emit(table.call(SortOp(descending), [keys], relax.TensorType(rows.ty.shape, "int64")))
    values = emit(relax.op.gather_elements(rows, places, axis=rank - 1))
    if axis == rank - 1:
        return values, places
    return emit(relax.op.permute_dims(values, back)), emit(relax.op.permute_dims(places, back))
