"""``provenance.json`` beside an archive: which operators of the torch model each kernel's call stands for.

For the profile, which sums times by operator and by module, and for whoever looks for the first operation that departs
from PyTorch. Imports neither PyTorch nor TVM. ``docs/profiling.md`` explains the fields.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError

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
    """Path of the innermost torch module that it belongs to; empty for the function's own module."""
    kind: str
    """That module's class."""


class Work(_Schema):
    """What one call moves and computes; None where nobody knows."""

    bytes: int | None = None
    """Each input, weight and output once, as far as the call looks at them."""
    flops: int | None = None
    """Twice the multiply-adds of products, convolutions and attention; the rest is not counted."""


class Site(_Schema):
    """One call of a kernel, or one part of a merged kernel."""

    kernel: str
    """The kernel's function, without the prefix that its archive gives it."""
    operators: list[int]
    """Numbers of the function's operators that it computes, in the graph's order; empty where none is known."""
    value: int | None = None
    """The operator whose value its output is, up to layout; None where it is none's alone."""
    mark: int | None = None
    """The number that its marks carry in an archive built for profiles, or its taps in one with those."""
    work: Work | None = None
    """None: known when it runs, and told by the marks then."""
    parts: list[Site] = []
    """Of a merged kernel, in the order they run."""


class FunctionProvenance(_Schema):
    """A compiled function. ``sites`` are in the order they are called, the same at every call of the function."""

    model: str = "g2p"
    """As work orders call it; no other model of the archive has its name."""
    name: str
    """No other function of the model has it; a model of tensors is one function, and has its name."""
    operators: list[Operator]
    sites: list[Site]

    def leaves(self) -> Iterator[Site]:
        """The sites, and in a merged kernel's place its parts."""
        for site in self.sites:
            yield from site.parts or [site]


class Provenance(_Schema):
    functions: list[FunctionProvenance]

    def of(self, model: str) -> Provenance:
        """Of one model alone, as its marks are read."""
        return Provenance(functions=[function for function in self.functions if function.model == model])


def common_module(operators: Sequence[Operator]) -> str:
    """The path of the innermost module that holds all of them."""
    paths = [operator.module.split(".") if operator.module else [] for operator in operators]
    steps = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    return ".".join(names[0] for names in steps)


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Into an archive's folder."""
    (folder / FILE_NAME).write_text(provenance.model_dump_json() + "\n", encoding="utf-8")


def read_provenance(folder: Path) -> Provenance:
    """What stands in an archive's folder; raises BadProvenance."""
    path = folder / FILE_NAME
    try:
        return Provenance.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadProvenance(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise BadProvenance(f"{path} is not of the schema: {error.errors()[0]['msg']}") from error
