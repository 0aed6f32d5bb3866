"""Does the compiled model say what PyTorch says? Both variants, every language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices import IncompleteResult
from harness.validate import Verdict

if TYPE_CHECKING:
    from harness.maker import Variant
    from harness.results import ParityLine
    from harness.session import RunSession


@pytest.mark.parametrize("variant", ["cache", "cacheless"])
def test_parity(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    variant: Variant,
    subtests: pytest.Subtests,
    record_property: Callable[[str, object], None],
) -> None:
    from harness.results.summarize import accuracies, parity_summary

    lines = harness_run.parity(variant)
    found = parity_summary(lines)
    for verdict, count in found.by_verdict.items():
        record_property(f"parity.{verdict}", count)
    record_property("parity.max_margin_error", found.max_margin_error)
    for language, accuracy in accuracies(harness_run.reference_lines(), lines).items():
        record_property(f"per.{language}", accuracy.per)
        record_property(f"wer.{language}", accuracy.wer)

    by_language: dict[str, list[ParityLine]] = defaultdict(list)
    for line in lines:
        by_language[line.language].append(line)
    for language, words in sorted(by_language.items()):
        with subtests.test(msg=language):
            failures = parity_summary(words).failures
            if failures:
                pytest.fail("\n".join(failures), pytrace=False)
    if found.by_verdict[Verdict.MISSING]:
        reason = harness_run.order_reason("parity", variant)
        raise IncompleteResult(f"{found.missing} of {found.words} words were not compared: {reason}")
