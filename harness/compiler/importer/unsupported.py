"""Raise errors of operators that cannot be imported.

They name the module that uses the operator, instead of TVM's stack of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import SymInt, Tensor, fx
from torch._ops import OpOverload
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils import _pytree as pytree

from harness.compiler.errors import UnsupportedOperator, first_words

BoundConverter = Callable[[fx.Node, Any], Any]
"""An entry as TVM's importer calls it: (node of the exported graph, importer) to the node's value in Relax."""
WRAPPED = "harness_model"
"""The name of a user's module in :class:`harness.models.tensor.flat.FlatModule`."""

SORTING = frozenset({"sort.default", "sort.stable", "argsort.default", "argsort.stable", "topk.default"}) | {
    f"{kind}.{form}" for kind in ("median", "nanmedian", "kthvalue", "mode") for form in ("default", "dim")
}
"""TVM 0.27's importer accepts some of these, but a later pass cannot name the functions that they become."""


def guarded(graph: fx.Graph, converters: Mapping[str, BoundConverter]) -> dict[str, BoundConverter]:
    """Return importer entries for every operator of ``graph``: those of ``converters``.

    They raise UnsupportedOperator with the operator and the module, if there is none or whatever fails in it.
    """

    def convert(node: fx.Node, importer: Any) -> Any:
        name = operator_name(node)
        _refuse_what_has_no_form(node)
        if name not in converters:
            raise UnsupportedOperator(f"TVM has no operator for {place(node)}")
        try:
            return converters[name](node, importer)
        except UnsupportedOperator:
            raise
        except Exception as error:  # each converter may raise anything
            raise UnsupportedOperator(f"TVM cannot take {place(node)}: {first_words(error)}") from error

    return {operator_name(node): convert for node in graph.nodes if node.op == "call_function"}


def _refuse_what_has_no_form(node: fx.Node) -> None:
    """Raise UnsupportedOperator for an operator that no compiled form can have."""
    if _draws(node):
        raise UnsupportedOperator(
            f"{place(node)} draws random numbers, so no two runs agree",
            cure="give the model the random numbers as one of its inputs, or leave them out for inference",
        )
    sizes = [value for value in pytree.tree_leaves(node.meta.get("val")) if isinstance(value, Tensor | SymInt)]
    if any(free_unbacked_symbols(value) for value in sizes):
        raise UnsupportedOperator(
            f"the size of what {place(node)} makes depends on the values of a tensor",
            cure="keep the whole size and mark what counts, with torch.where or a mask; or do it outside the module",
        )


def _draws(node: fx.Node) -> bool:
    """Return whether the node's results are random: not so for dropout that is off, or whose results go nowhere."""
    target = node.target
    if not isinstance(target, OpOverload) or torch.Tag.nondeterministic_seeded not in target.tags or not node.users:
        return False
    schema = [argument.name for argument in target._schema.arguments]
    given = dict(zip(schema, node.args, strict=False)) | node.kwargs
    if "dropout_p" in schema:
        return bool(given.get("dropout_p", 0.0))
    if "training" in schema or "train" in schema:
        return given.get("training", given.get("train", False)) is not False
    return True


def operator_name(node: fx.Node) -> str:
    """Return the name in TVM's importer, such as ``index.Tensor``."""
    return str(getattr(node.target, "__name__", node.target))


def place(node: fx.Node) -> str:
    """Return the operator, the path of the module that uses it, and its line of source if torch has it."""
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(list(stack.values())), ("", ""))
    kind = getattr(kind, "__name__", str(kind).rpartition(".")[2])
    path = module_path(str(path))
    inside = f"in {path} ({kind})" if path else "in the model itself"
    return f"{node.target} {inside}{_line(node)}"


def module_path(path: str) -> str:
    """Turn a path in torch's stack of modules into one in the user's model; empty for the model itself."""
    return "" if path == WRAPPED else path.removeprefix(f"{WRAPPED}.")


def _line(node: fx.Node) -> str:
    frames = [line.strip() for line in str(node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    at = next((index for index in reversed(range(len(frames))) if frames[index].startswith("File ")), None)
    if at is None:
        return ""
    source = frames[at + 1] if at + 1 < len(frames) else ""
    return f", {frames[at].removeprefix('File ')}: {source}" if source else f", {frames[at]}"
