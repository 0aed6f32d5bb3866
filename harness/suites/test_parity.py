"""Does the compiled model give PyTorch's answers, or nearly so in a lossy precision? Every item, in every variant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices import IncompleteResult
from harness.models.generation import FUNCTIONS as VARIANTS
from harness.models.options import DEFAULT_MODELS
from harness.suites.chosen import models, prefixed
from harness.validate import Verdict

if TYPE_CHECKING:
    from harness.results import ParityLine
    from harness.run.session import RunSession


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each model, in the variant that is timed. A run that names no model is compared in both."""
    if metafunc.config.getoption("harness_models", []):
        named = models(metafunc)
        metafunc.parametrize(("model", "variant"), [(model, None) for model in named], ids=named)
    else:
        pairs = [(model, variant) for model in DEFAULT_MODELS for variant in VARIANTS]
        metafunc.parametrize(("model", "variant"), pairs, ids=[variant for _, variant in pairs])


@pytest.mark.harness_step("parity")
def test_parity(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    model: str,
    variant: str | None,
    subtests: pytest.Subtests,
    record_property: Callable[[str, object], None],
) -> None:
    from harness.results.summarize import accuracies, parity_summary

    for name in harness_run.of(model):
        workload = harness_run.workloads[name]
        lines, reference = workload.parity(variant), workload.reference_lines()
        found = parity_summary(lines)
        for verdict, count in found.by_verdict.items():
            record_property(prefixed("parity", name) + f".{verdict}", count)
        for figure in ("agreement", "max_margin_error", "max_error"):
            if getattr(found, figure) is not None:
                record_property(f"{prefixed('parity', name)}.{figure}", getattr(found, figure))
        accuracy = accuracies(reference, lines)
        for subset, one in accuracy.items():
            record_property(f"{prefixed('per', name)}.{subset}", one.per)
            record_property(f"{prefixed('wer', name)}.{subset}", one.wer)

        by_subset: dict[str, list[ParityLine]] = defaultdict(list)
        for line in lines:
            by_subset[line.subset or name].append(line)
        for subset, some in sorted(by_subset.items()):
            with subtests.test(msg=subset):
                failures = parity_summary(some).failures
                if failures and workload.exact:
                    pytest.fail("\n".join(failures), pytrace=False)
        reasons = [] if workload.exact else workload.shortcomings(lines)
        if reasons:
            pytest.fail("\n".join([*reasons, *found.failures]), pytrace=False)
        if found.by_verdict[Verdict.MISSING]:
            reason = harness_run.order_reason("parity", workload.variant(variant) or name)
            unit = workload.workload.unit
            raise IncompleteResult(f"{found.missing} of {found.items} {unit}s were not compared: {reason}")
