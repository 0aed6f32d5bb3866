"""Does the compiled model say what PyTorch says, or nearly so in a lossy precision? Both variants, every language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices import IncompleteResult
from harness.validate import Verdict

if TYPE_CHECKING:
    from harness.results import ParityLine
    from harness.run.builder import Variant
    from harness.run.session import RunSession


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both variants; beside other models in one binary the one that is timed."""
    timed = "cache" if metafunc.config.getoption("harness_kv_cache", True) else "cacheless"
    both = not metafunc.config.getoption("harness_models", [])
    metafunc.parametrize("variant", ["cache", "cacheless"] if both else [timed])


@pytest.mark.harness_step("parity")
def test_parity(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    variant: Variant,
    subtests: pytest.Subtests,
    record_property: Callable[[str, object], None],
) -> None:
    from harness.results.summarize import accuracies, expected_accuracies, parity_summary, shortcomings

    lines = harness_run.generation.parity(variant)
    found = parity_summary(lines)
    for verdict, count in found.by_verdict.items():
        record_property(f"parity.{verdict}", count)
    record_property("parity.max_margin_error", found.max_margin_error)
    record_property("parity.agreement", found.agreement)
    said = accuracies(harness_run.generation.reference_lines(), lines)
    for language, accuracy in said.items():
        record_property(f"per.{language}", accuracy.per)
        record_property(f"wer.{language}", accuracy.wer)

    by_language: dict[str, list[ParityLine]] = defaultdict(list)
    for line in lines:
        by_language[line.subset].append(line)
    for language, words in sorted(by_language.items()):
        with subtests.test(msg=language):
            failures = parity_summary(words).failures
            if failures and harness_run.policy.exact:
                pytest.fail("\n".join(failures), pytrace=False)
    reasons = shortcomings(
        harness_run.policy, found, said, expected_accuracies(harness_run.generation.reference_lines())
    )
    if reasons and not harness_run.policy.exact:
        pytest.fail("\n".join([*reasons, *found.failures]), pytrace=False)
    if found.by_verdict[Verdict.MISSING]:
        reason = harness_run.order_reason("parity", variant)
        raise IncompleteResult(f"{found.missing} of {found.items} words were not compared: {reason}")
