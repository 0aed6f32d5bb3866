"""Find the operators that installed packages add, without importing them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from harness.core.cache import hash_sources

OPERATORS = "harness.operators"
"""The entry point group: ``NAME = "package.module:OperatorClass"``."""


def operator_entries() -> list[importlib.metadata.EntryPoint]:
    """Return the entry points by their names. A package that is on the path twice offers each once."""
    found = {(entry.name, entry.value): entry for entry in importlib.metadata.entry_points(group=OPERATORS)}
    return [found[key] for key in sorted(found)]


def operators_identity() -> dict[str, str]:
    """Return a hash of the sources behind each entry point, since an archive's bytes depend on them."""
    return {f"{entry.name} = {entry.value}": _hash(entry.module.partition(".")[0]) for entry in operator_entries()}


def _hash(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    sources = origin.parent.rglob("*.py") if spec.submodule_search_locations else [origin]
    return hash_sources(sources, origin.parent)
