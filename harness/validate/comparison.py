"""Define the rules by which a model's answers are compared with PyTorch's; the model's file names one.

A package adds a rule of its own by an entry point in the group ``harness.comparisons``
(docs/contributing/comparison.md). Rules are stored with runs and baselines, and found again by their ``kind``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

from harness.core.errors import HarnessError
from harness.core.plugins import entries
from harness.validate.parity import Verdict

if TYPE_CHECKING:
    from harness.validate.arrays import Answers

GROUP = "harness.comparisons"


class ComparisonGone(HarnessError):
    """A stored comparison is of a package that is not installed any more, or cannot be loaded."""

    cure = "install the package again that brought it"


class ComparisonRule(BaseModel, ABC):
    """One way to judge a model's tensors. ``kind`` is a constant of its class, by which it is found again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str

    @abstractmethod
    def describe(self) -> str:
        """Return the rule in a few words, for a report."""

    @abstractmethod
    def judge(self, expected: Answers, got: Answers) -> tuple[Verdict, str]:
        """Return EQUAL, TIE or MISMATCH, and what differs; both sides have the same outputs, shapes and dtypes."""

    def misfit(self, outputs: Mapping[str, tuple[list[int], bool]]) -> str | None:
        """Return why a model with these outputs (by name: shape, whether floats) cannot be judged so."""
        return None


class Tolerances(ComparisonRule):
    """Every number of every output is within ``absolute`` + ``relative`` * the output's largest magnitude.

    Relative to the largest and not to the number itself, because sums that cancel have an error of their terms'
    size. Integers and truth values have to be equal.
    """

    kind: Literal["tolerances"] = "tolerances"
    relative: float = Field(default=1e-4, ge=0)
    absolute: float = Field(default=1e-6, ge=0)

    def describe(self) -> str:
        return f"within {self.relative:g} of the largest + {self.absolute:g}"

    def judge(self, expected: Answers, got: Answers) -> tuple[Verdict, str]:
        from harness.validate.arrays import within

        return within(self.absolute, self.relative, expected, got)


class _OfOneOutput(ComparisonRule):
    output: str | None = None
    """None: the first output."""
    tie: float = Field(default=1e-3, ge=0)

    def _chosen(self, outputs: Mapping[str, Any]) -> str:
        return self.output or next(iter(outputs))

    def _missing(self, outputs: Mapping[str, Any]) -> str | None:
        name = self._chosen(outputs)
        return None if name in outputs else f"it is compared by its output {name!r}; it has {', '.join(outputs)}"


class TopK(_OfOneOutput):
    """The ``k`` best along the last axis of one output are PyTorch's, in its order.

    Where the order differs, it is a declared tie if PyTorch's scores of the two are within ``tie``.
    """

    kind: Literal["top_k"] = "top_k"
    k: int = Field(default=5, ge=1)

    def describe(self) -> str:
        return f"the {self.k} best, ties within {self.tie:g}"

    def judge(self, expected: Answers, got: Answers) -> tuple[Verdict, str]:
        from harness.validate.arrays import same_best

        name = self._chosen(expected)
        return same_best(self.k, self.tie, name, expected[name], got[name])

    def misfit(self, outputs: Mapping[str, tuple[list[int], bool]]) -> str | None:
        return self._missing(outputs) or _too_short(self.k, self._chosen(outputs), outputs)


class ExactTokens(_OfOneOutput):
    """One output's ids are PyTorch's: of integers themselves, of scores the best along the last axis.

    Of scores, another id is a declared tie if PyTorch's scores of the two are within ``tie``.
    """

    kind: Literal["exact_tokens"] = "exact_tokens"

    def describe(self) -> str:
        return f"the same ids, ties within {self.tie:g}"

    def judge(self, expected: Answers, got: Answers) -> tuple[Verdict, str]:
        from harness.validate.arrays import same_ids

        name = self._chosen(expected)
        return same_ids(self.tie, name, expected[name], got[name])

    def misfit(self, outputs: Mapping[str, tuple[list[int], bool]]) -> str | None:
        if missing := self._missing(outputs):
            return missing
        name = self._chosen(outputs)
        return _too_short(1, name, outputs) if outputs[name][1] else None


class UnknownComparison(ComparisonRule):
    """A stored rule of a package that is not installed: it can be shown, and judges nothing."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def describe(self) -> str:
        return f"{self.kind}, which is not installed"

    def judge(self, expected: Answers, got: Answers) -> tuple[Verdict, str]:
        raise ComparisonGone(f"the comparison {self.kind!r} is not installed")


def _too_short(best: int, name: str, outputs: Mapping[str, tuple[list[int], bool]]) -> str | None:
    shape = outputs[name][0]
    if shape and shape[-1] >= best:
        return None
    return f"it is compared by the {best} best of {name!r}, whose shape is {shape}"


OWN: dict[str, type[ComparisonRule]] = {"tolerances": Tolerances, "top_k": TopK, "exact_tokens": ExactTokens}


@functools.cache
def comparison_rules() -> dict[str, type[ComparisonRule]]:
    """Return every rule that is installed, by its kind. One that cannot be loaded is left out."""
    found = dict(OWN)
    for entry in entries(GROUP):
        rule = _loaded(entry)
        if rule is not None:
            found.setdefault(entry.name, rule)
    return found


def _loaded(entry: importlib.metadata.EntryPoint) -> type[ComparisonRule] | None:
    try:
        rule = entry.load()
    except Exception:  # What a foreign package raises can be anything; its rules are then unknown ones.
        return None
    whole = isinstance(rule, type) and issubclass(rule, ComparisonRule) and not inspect.isabstract(rule)
    return rule if whole else None


def _stored(value: object) -> object:
    """Return the rule that a stored one is of."""
    if not isinstance(value, dict):
        return value
    return comparison_rules().get(str(value.get("kind")), UnknownComparison).model_validate(value)


Comparison = Annotated[SerializeAsAny[ComparisonRule], BeforeValidator(_stored)]
