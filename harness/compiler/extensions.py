"""Find the operators and importer entries that installed packages add."""

from __future__ import annotations

import importlib.util
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from harness.compiler.errors import BadExtension
from harness.core.cache import hash_sources
from harness.core.plugins import entries

OPERATORS = "harness.operators"
"""The entry point group of fused operators: ``NAME = "package.module:OperatorClass"``."""
IMPORTERS = "harness.importers"
"""The entry point group of importer entries: ``"TORCH_OPERATOR.OVERLOAD" = "package.module:function"``."""


def identity(group: str) -> dict[str, str]:
    """Return a hash of the sources of each entry point, since an archive's bytes depend on them.

    Nothing is imported for it.
    """
    return {f"{entry.name} = {entry.value}": _hash(entry.module.partition(".")[0]) for entry in entries(group)}


def load(entry: EntryPoint) -> Any:
    """Return what the entry point names. Raises BadExtension if it cannot be imported."""
    try:
        return entry.load()
    except Exception as error:  # the package's own code runs here
        raise BadExtension(entry, f"cannot be imported: {error}") from error


def _hash(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return ""
    if spec.submodule_search_locations is None:
        return hash_sources([Path(spec.origin)], Path(spec.origin).parent) if spec.origin and spec.has_location else ""
    # A namespace package may lie in several folders, and has no file of its own.
    folders = map(Path, spec.submodule_search_locations)
    return " ".join(hash_sources(folder.rglob("*.py"), folder) for folder in folders)
