"""What a model does that cannot be compiled, told with the module that does it instead of TVM's stack of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from harness.compiler.errors import UnsupportedOperator, first_words

WRAPPED = "harness_model"
"""Where a user's module stands in :class:`harness.models.flat.FlatModule`."""

SORTING = frozenset({"sort.default", "sort.stable", "argsort.default", "argsort.stable", "topk.default"}) | {
    f"{kind}.{form}" for kind in ("median", "nanmedian", "kthvalue", "mode") for form in ("default", "dim")
}
"""TVM 0.27's importer takes some of these, but no later pass can name the functions that they become."""


def guarded(graph: fx.Graph, converters: Mapping[str, Callable[[fx.Node, Any], Any]]) -> dict[str, Any]:
    """Importer entries for every operator of ``graph``: ``converters`` first, then TVM's own.

    Whatever goes wrong in one is an UnsupportedOperator that names the operator and the module.
    """
    theirs: dict[str, Any] = {}

    def convert(node: fx.Node, importer: Any) -> Any:
        name = operator_name(node)
        if not theirs:
            theirs.update(importer.create_convert_map())
        if name in SORTING or (name not in converters and name not in theirs):
            raise UnsupportedOperator(f"TVM has no operator for {place(node)}")
        try:
            return converters[name](node, importer) if name in converters else theirs[name](node)
        except UnsupportedOperator:
            raise
        except Exception as error:  # each converter raises what its author thought of
            raise UnsupportedOperator(f"TVM cannot take {place(node)}: {first_words(error)}") from error

    return {operator_name(node): convert for node in graph.nodes if node.op == "call_function"}


def operator_name(node: fx.Node) -> str:
    """As TVM's importer names it, such as ``index.Tensor``."""
    return str(getattr(node.target, "__name__", node.target))


def place(node: fx.Node) -> str:
    """The operator, the path of the module that uses it, and the line of source where torch knows it."""
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(list(stack.values())), ("", ""))
    kind = getattr(kind, "__name__", str(kind).rpartition(".")[2])
    path = module_path(str(path))
    inside = f"in {path} ({kind})" if path else "in the model itself"
    return f"{node.target} {inside}{_line(node)}"


def module_path(path: str) -> str:
    """A path in torch's stack of modules as the model's author knows it; empty for the model itself."""
    return "" if path == WRAPPED else path.removeprefix(f"{WRAPPED}.")


def _line(node: fx.Node) -> str:
    frames = [line.strip() for line in str(node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    at = next((index for index in reversed(range(len(frames))) if frames[index].startswith("File ")), None)
    if at is None:
        return ""
    source = frames[at + 1] if at + 1 < len(frames) else ""
    return f", {frames[at].removeprefix('File ')}: {source}" if source else f", {frames[at]}"
