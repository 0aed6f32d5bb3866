"""Exporting a model once in a process, for tests that compile the same model again: for another target, in another
precision, or broken on purpose. Of a small model's compile the export is a third."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import pytest

PLACES = ("harness.compiler.functions", "harness.compiler.importer.importing", "harness.explain.worker")
"""The modules that export."""

_EXPORTS: dict[str, Any] = {}


def remember_exports(patch: pytest.MonkeyPatch) -> None:
    """Let a function with the same module, weights and inputs keep the graph that it was exported to."""
    from harness.compiler.importer.exporting import exported

    def remembered(function: Any) -> Any:
        key = _key(function)
        if key is None:
            return exported(function)
        if key not in _EXPORTS:
            _EXPORTS[key] = exported(function)
        return _EXPORTS[key]

    for place in PLACES:
        patch.setattr(f"{place}.exported", remembered)


def _key(function: Any) -> str | None:
    """Return the hash of all that an export depends on; None for a module that pickle does not take.

    Such are classes that only one test knows, and parametrized modules, for which torch raises RuntimeError.
    """
    whole = (function.name, function.module.eval(), function.example_inputs, bool(function.results))
    try:
        pickled = pickle.dumps(whole)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError):
        return None
    return hashlib.sha256(pickled + repr(function.dynamic_shapes).encode()).hexdigest()
