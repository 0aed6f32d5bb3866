"""Documents that carry what a run folder stores: profiles and explanations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Part
from harness.explain.schema import Explanation
from harness.results.schema.profile import ProfileSummary


class ProfileDocument(Document):
    """`harness profile`: time by operator and module, as profile.json keeps it (docs/profiling.md)."""

    schema_name: Literal["harness.profile/2"] = Field(default="harness.profile/2", alias="schema")
    run: str
    models: list[ProfileSummary]


class Departure(Part):
    """The first place that diverges from PyTorch."""

    function: str
    call: int
    kernel: str
    module: str
    operation: str | None
    inherited: bool
    """Whether no kernel diverges by itself and their errors have accumulated all the same."""


class ExplanationDocument(Document):
    """`harness explain`: the first place that diverges, and every kernel's call (docs/explain.md)."""

    schema_name: Literal["harness.explanation/1"] = Field(default="harness.explanation/1", alias="schema")
    departed: bool
    first: Departure | None
    explanation: Explanation
    """As the run folder keeps it; ``snr`` is in decibels, ``seconds`` is what each part of the work took."""


def explanation_document(found: Explanation) -> ExplanationDocument:
    first = found.first
    return ExplanationDocument(
        departed=found.departed,
        first=None
        if first is None
        else Departure(
            function=first.function,
            call=first.call,
            kernel=first.kernel,
            module=first.module,
            operation=first.operation,
            inherited=found.inherited,
        ),
        explanation=found,
    )
