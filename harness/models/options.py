"""Define the options that choose models and their items, shared by runs, by ``compile`` and by ``package``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from harness.core.options import Option
from harness.protocol.schema import Precision
from harness.validate import DEFAULT_TOLERANCE

DEFAULT_MODELS = ("g2p",)
"""The models of a command that names none."""
ModelCommand = Literal["suites", "compile", "xcframework", "package", "link-env"]


@dataclass(frozen=True)
class ModelOption(Option):
    """Describe one option of a kind of workloads, such as ``--checkpoint``. Its value is in ``ModelOptions.own``."""

    commands: tuple[ModelCommand, ...] = ("suites", "compile")
    """The commands that show it: ``pytest suites`` with ``harness run``, ``harness compile`` with ``harness lab
    compile``, and others of ``harness``."""
    picks_items: bool = False
    """Whether it chooses the items."""


@dataclass(frozen=True)
class ModelOptions:
    """Hold the options of models; their names are those of the command line."""

    models: tuple[str, ...] = ()
    """Names as ``--models`` takes them. Empty means the default, which a run compares in all its variants."""
    item_sample: int | None = None
    """How many of a model's items are run, as a fixed sample spread over kinds and sizes; None means all."""
    tolerance: float = DEFAULT_TOLERANCE
    precision: Precision = "fp32"
    """The precision of the compiled model; the reference is always float32."""
    allow_pickle: bool = False
    """Whether files of models may hold pickles, which can run any program when they are read."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """The values of the options that kinds of workloads bring, by their keys; :meth:`ModelOption.of` reads one."""

    @property
    def named(self) -> tuple[str, ...]:
        """Return the names of the models, with the default where none is given."""
        return self.models or DEFAULT_MODELS


Options = TypeVar("Options", bound=ModelOptions)


def with_own(options: Options, **own: Any) -> Options:
    """Return the options with other values of kinds' options."""
    return replace(options, own={**options.own, **own})
