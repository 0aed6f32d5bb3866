"""Choose what the suites are parametrized with, and name their results in JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.models.options import DEFAULT_MODELS

if TYPE_CHECKING:
    import pytest


def models(metafunc: pytest.Metafunc) -> list[str]:
    """Return the names of ``--models``; each gets a test, and one file may hold several models."""
    return metafunc.config.getoption("harness_models", []) or list(DEFAULT_MODELS)


def prefixed(metric: str, model: str) -> str:
    """Return the name of a model's property: ``metric.model``, or only ``metric`` for the default model."""
    return metric if model in DEFAULT_MODELS else f"{metric}.{model}"
