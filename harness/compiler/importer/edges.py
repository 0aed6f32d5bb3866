"""Import operators at the edges of what tensors are: those without elements, and those without axes.

TVM's operators along an axis refuse a tensor without axes, for which torch takes 0 and -1. Its loops over no elements
fail in a division by their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx
from torch.utils import _pytree as pytree
from tvm import relax

from harness.compiler.importer.unsupported import BoundConverter, operator_name

ALONG_AN_AXIS = frozenset(
    {
        *("all", "amax", "amin", "any", "argmax", "argmin", "cumprod", "cumsum", "gather", "index_select", "kthvalue"),
        *("log_softmax", "_log_softmax", "max", "median", "min", "prod", "scatter", "scatter_add", "scatter_reduce"),
        *("_softmax", "softmax", "sort", "sum", "topk"),
    }
)
"""Operators that are computed with one axis where their tensors have none."""
BY_PLACES = frozenset({"gather", "index_select", "scatter", "scatter_add", "scatter_reduce"})
"""Those of them whose places may have no axes beside a tensor that has one."""


def at_edges(convert: BoundConverter) -> BoundConverter:
    """Return an entry that makes nothing of no elements, and gives tensors without axes one for a while."""

    def call(node: fx.Node, importer: Any) -> Any:
        made = node.meta.get("val")
        if isinstance(made, Tensor) and not made.is_complex() and _is_empty(made):
            return importer.block_builder.emit(
                relax.op.zeros(relax.ShapeExpr([int(extent) for extent in made.shape]), _kind(made))
            )
        scalars = [one for one in node.all_input_nodes if _is_scalar(one.meta.get("val"))]
        name = operator_name(node).partition(".")[0]
        if name in ALONG_AN_AXIS and scalars and (node.args[0] in scalars or name in BY_PLACES):
            return _with_an_axis(node, importer, scalars, convert)
        return convert(node, importer)

    return call


def _is_empty(value: Tensor) -> bool:
    return any(isinstance(extent, int) and extent == 0 for extent in value.shape) and all(
        isinstance(extent, int) for extent in value.shape
    )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and not value.is_complex()


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _with_an_axis(node: fx.Node, importer: Any, scalars: list[fx.Node], convert: Callable[[fx.Node, Any], Any]) -> Any:
    """Convert the node with its scalars as [1], and give the results torch's shapes."""
    emit, env = importer.block_builder.emit, importer.env
    before = {one: env[one] for one in scalars}
    metas = {one: one.meta["val"] for one in scalars}
    for one in scalars:
        env[one] = emit(relax.op.reshape(before[one], [1]))
        one.meta["val"] = metas[one].reshape(1)
    try:
        results = convert(node, importer)
    finally:
        env.update(before)
        for one in scalars:
            one.meta["val"] = metas[one]
    if isinstance(results, list | tuple):
        wanted = pytree.tree_leaves(node.meta["val"])
        return tuple(_shaped(emit, one, value) for one, value in zip(results, wanted, strict=True))
    return _shaped(emit, results, node.meta["val"])


def _shaped(emit: Callable[[Any], Any], result: Any, wanted: Tensor) -> Any:
    return emit(relax.op.reshape(result, list(wanted.shape)))
