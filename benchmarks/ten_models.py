"""Ten small models in one file, as ``--models`` takes them, for what many models in one binary cost each other."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from benchmarks.torch_models import EXAMPLES, Example
from harness.models import ModelSpec


def _build(example: Example, seed: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(example.make(seed)[0])


def _spec(at: int) -> ModelSpec:
    """Return the first ten examples, each with weights of its own."""
    example = EXAMPLES[at]
    given = {"input": example.make(at)[1]}
    return ModelSpec(name=f"m{at}", build=_build(example, at), example_inputs=given, items={"one": given})


MODELS = [_spec(at) for at in range(10)]
M0, M1, M2, M3, M4, M5, M6, M7, M8, M9 = MODELS
