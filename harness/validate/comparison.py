"""Define how a model chooses to compare its answers with PyTorch's; :mod:`harness.validate.tensors` compares them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Comparison(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tolerances(_Comparison):
    """Every number of every output is within ``absolute`` + ``relative`` * the output's largest magnitude.

    Relative to the largest and not to the number itself, because sums that cancel have an error of their terms'
    size. Integers and truth values have to be equal.
    """

    kind: Literal["tolerances"] = "tolerances"
    relative: float = Field(default=1e-4, ge=0)
    absolute: float = Field(default=1e-6, ge=0)

    def describe(self) -> str:
        return f"within {self.relative:g} of the largest + {self.absolute:g}"


class TopK(_Comparison):
    """The ``k`` best along the last axis of one output are PyTorch's, in its order.

    Where the order differs, it is a declared tie if PyTorch's scores of the two are within ``tie``.
    """

    kind: Literal["top_k"] = "top_k"
    k: int = Field(default=5, ge=1)
    output: str | None = None
    """None means the first output."""
    tie: float = Field(default=1e-3, ge=0)

    def describe(self) -> str:
        return f"the {self.k} best, ties within {self.tie:g}"


class ExactTokens(_Comparison):
    """One output's ids are PyTorch's: of integers themselves, of scores the best along the last axis.

    Of scores, another id is a declared tie if PyTorch's scores of the two are within ``tie``.
    """

    kind: Literal["exact_tokens"] = "exact_tokens"
    output: str | None = None
    """None means the first output."""
    tie: float = Field(default=1e-3, ge=0)

    def describe(self) -> str:
        return f"the same ids, ties within {self.tie:g}"


Comparison = Annotated[Tolerances | TopK | ExactTokens, Field(discriminator="kind")]
COMPARISON: TypeAdapter[Tolerances | TopK | ExactTokens] = TypeAdapter(Comparison)
