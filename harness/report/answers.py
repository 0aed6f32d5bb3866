"""Report what language models answered, and why each answer ended."""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.protocol.schema import Ended
from harness.report.document import Table
from harness.report.figures import DASH
from harness.results.schema import GeneratedAnswer, WorkloadSummary
from harness.validate import Verdict

ENDS: Mapping[Ended, str] = {"length": "length", "stop_token": "stop token"}
"""What a person calls the reasons why a generation ends."""


def answers_table(models: Mapping[str, WorkloadSummary]) -> Table | None:
    """Return a table with a row for each prompt of each language model; None if there are none."""
    rows = [
        [name, found.label or item, str(found.verdict), _ended(found), _quoted(found.expected), _ours(found)]
        for name, model in models.items()
        for item, found in model.answers.items()
    ]
    if not rows:
        return None
    return Table(
        ["model", "prompt", "answer", "ended by", "PyTorch's answer", "ours"],
        rows,
        note="Ended by: the length that was asked for, or a stop token of the model's configuration, for PyTorch and "
        "for us where the two differ. Where PyTorch's tokens are fed, ours is the model's choice at each of them.",
    )


def _ended(found: GeneratedAnswer) -> str:
    ours, theirs = found.ended, found.expected_ended
    if ours is None or ours == theirs:
        return ENDS[theirs]
    return f"{ENDS[theirs]}, ours {ENDS[ours]}"


def _ours(found: GeneratedAnswer) -> str:
    if found.verdict is Verdict.EQUAL:
        return "the same"
    return _quoted(found.got) if found.got else DASH


def _quoted(text: str) -> str:
    """Return a text on one line, with its line breaks spelt out."""
    return json.dumps(text, ensure_ascii=False)
