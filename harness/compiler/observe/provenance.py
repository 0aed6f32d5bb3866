"""``provenance.json`` beside an archive: the operators of the torch model that each call of a kernel stands for.

A profile sums times by operator and by module with it, and ``harness explain`` finds the first operator that departs
from PyTorch. Imports neither PyTorch nor TVM. ``docs/profiling.md`` explains the fields.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import HarnessError

FILE_NAME = "provenance.json"


class BadProvenance(HarnessError):
    """An archive's provenance is missing or not of the schema."""

    cure = "compile again with `harness compile`"


class _Schema(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Operator(_Schema):
    """A node of the exported graph, after torch's decompositions."""

    name: str
    """The node's own, such as ``linear_3``: unique within its function."""
    target: str
    """What it calls, such as ``aten.linear.default``."""
    module: str
    """The path of its innermost torch module; empty for the function's own module."""
    kind: str
    """That module's class."""


class Work(_Schema):
    """The work of one call; None where it is unknown."""

    bytes: int | None = None
    """Each input, weight and output once, as far as the call touches them."""
    flops: int | None = None
    """Twice the multiply-adds of products, convolutions and attention; the rest is not counted."""


class Site(_Schema):
    """One call of a kernel, or one part of a merged kernel."""

    kernel: str
    """The kernel's function, without its archive's prefix."""
    operators: list[int]
    """Numbers of the function's operators that it computes, in the graph's order; empty where they are unknown."""
    value: int | None = None
    """The operator whose result its output is, up to layout; None where it is not one operator's."""
    mark: int | None = None
    """Its number in an instrumented archive: of its marks (profiling) or its taps (tracing)."""
    work: Work | None = None
    """None: it is known only when the kernel runs, and the marks report it."""
    parts: list[Site] = []
    """Of a merged kernel, in the order they run."""


class FunctionProvenance(_Schema):
    """A compiled function. ``sites`` are in the order of the calls, which every call of the function repeats."""

    model: str = "g2p"
    """Its name in orders, unique in the archive."""
    name: str
    """Unique in the model. A tensor workload is one function with the model's name."""
    operators: list[Operator]
    sites: list[Site]

    def leaves(self) -> Iterator[Site]:
        """Yield the sites, and the parts in place of a merged kernel."""
        for site in self.sites:
            yield from site.parts or [site]


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
