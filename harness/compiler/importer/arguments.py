"""Read a node's arguments by their names in torch's schema, whether they are given by position or by name."""

from __future__ import annotations

from typing import Any

from torch import fx


def arguments(node: fx.Node, importer: Any, *names: str, **usual: Any) -> dict[str, Any]:
    """Return the arguments as Relax values. ``names`` are those by position; ``usual`` is what torch's schema has."""
    given = dict(zip(names, importer.retrieve_args(node), strict=False))
    return {**usual, **given, **{name: importer._retrieve_args(value) for name, value in node.kwargs.items()}}


def given(node: fx.Node) -> list[Any]:
    """Return the arguments by position as they are in the graph."""
    return list(node.args)
