"""Write and read ``provenance.json`` next to an archive: the torch operators for which each call of a kernel stands.

A profile sums times by operator and by module with it, and ``harness explain`` finds the first operator that diverges
from PyTorch. Imports neither PyTorch nor TVM. ``docs/profiling.md`` explains the fields.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import HarnessError
from harness.protocol.schema import Precision

FILE_NAME = "provenance.json"
STORED = "stored.safetensors"
"""The weights as the archive holds them, beside one that is instrumented for tracing; keys are ``stored_key``'s."""
BESIDE = "+"
"""Joins the names of the layers whose columns lie side by side in one weight."""

CONVOLUTIONS = ("convolution", "conv1d", "conv2d")
WEIGHTED = ("linear", "mm", "matmul", "lstm", "gru", "rnn", *CONVOLUTIONS)


class BadProvenance(HarnessError):
    """An archive's provenance is missing or not of the schema."""

    cure = "compile again with `harness compile`"


class _Schema(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Operator(_Schema):
    """Describe a node of the exported graph, after torch's decompositions."""

    name: str
    """The node's own name, such as ``linear_3``; it is unique within its function."""
    target: str
    """The called operator, such as ``aten.linear.default``."""
    module: str
    """The path of its innermost torch module; empty for the function's own module."""
    kind: str
    """The class of that module."""


def has_weights(operator: Operator) -> bool:
    """Return whether an operator is a layer whose weights may be stored in fewer bits."""
    return any(part in WEIGHTED for part in re.split(r"[._:]", operator.target))


def is_convolution(operator: Operator) -> bool:
    return any(part in CONVOLUTIONS for part in re.split(r"[._:]", operator.target))


class Work(_Schema):
    """Hold the work of one call; None if it is unknown."""

    bytes: int | None = None
    """The bytes of each input, weight and output once, as far as the call touches them."""
    flops: int | None = None
    """Twice the multiply-adds of products, convolutions and attention; the rest is not counted."""


class Site(_Schema):
    """Describe one call of a kernel, or one part of a merged kernel."""

    kernel: str
    """The kernel's function, without its archive's prefix."""
    operators: list[int]
    """The numbers of the operators that it computes, in the graph's order; empty if they are unknown."""
    value: int | None = None
    """The operator whose result its output is, up to layout; None if it is not one operator's."""
    mark: int | None = None
    """Its number in an instrumented archive: of its marks (profiling) or its taps (tracing)."""
    work: Work | None = None
    """The work; None if it is known only when the kernel runs, and the marks report it."""
    parts: list[Site] = []
    """The parts of a merged kernel, in the order in which they run."""


class LayerError(_Schema):
    """Describe how exactly a product with a weight of fewer bits than float32 is computed."""

    layers: list[str]
    """The layers' names as ``--keep-wide`` takes them; they are kept wide together."""
    error: float
    """The root mean square of its results' error over that of its results, on the model's usual inputs."""
    whole: float | None = None
    """The same of the model's results if this layer alone has fewer bits; measured for convolutions."""
    kept: bool = False
    """Whether it stays wide because of ``whole``."""


class FunctionProvenance(_Schema):
    """Describe a compiled function.

    ``sites`` are in the order of the calls, which every call of the function repeats.
    """

    model: str = "g2p"
    """The model's name in orders, unique in the archive."""
    name: str
    """The function's name, unique in the model. A tensor workload is one function with the model's name."""
    operators: list[Operator]
    sites: list[Site]
    rounding: list[LayerError] = []
    """The products whose weights have fewer bits than float32."""

    def leaves(self) -> Iterator[Site]:
        """Yield the sites, with its parts instead of a merged kernel."""
        for site in self.sites:
            yield from site.parts or [site]


def stored_key(precision: Precision, steps: int, function: str, layers: Sequence[Operator]) -> str:
    """Return the key of a weight of that precision, which stands for these layers of a function.

    ``steps`` are those of the largest activation of a row; 0 where activations are not rounded.
    """
    return f"{precision}/{steps}/{function}/{BESIDE.join(layer.name for layer in layers)}"


class Provenance(_Schema):
    functions: list[FunctionProvenance]

    def of(self, model: str) -> Provenance:
        """Return the provenance of one model."""
        return Provenance(functions=[function for function in self.functions if function.model == model])


def common_module(operators: Sequence[Operator]) -> str:
    """Return the path of the innermost module that contains all operators."""
    paths = [operator.module.split(".") if operator.module else [] for operator in operators]
    steps = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    return ".".join(names[0] for names in steps)


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write ``provenance.json`` into an archive's folder."""
    (folder / FILE_NAME).write_text(provenance.model_dump_json() + "\n", encoding="utf-8")


def read_provenance(folder: Path) -> Provenance:
    """Read ``provenance.json`` in an archive's folder. Raises BadProvenance."""
    path = folder / FILE_NAME
    try:
        return Provenance.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadProvenance(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise BadProvenance(f"{path} is not of the schema: {error.errors()[0]['msg']}") from error
