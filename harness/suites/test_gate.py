"""Has a model become slower, larger or wrong? With --baseline: each and the baseline's, in interleaved pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.run.session import RunSession


@pytest.mark.harness_step("gate")
def test_no_slower_than_the_baseline(
    harness_run: RunSession, harness_facts: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    """Compare this run's runner with the baseline's, as a nightly run does."""
    from harness.pytest_plugin.gate import GateWarning, gate_message, require_decided
    from harness.results.nightly import judged

    record = harness_run.gate()
    verdict = judged(record).verdict
    record_property("gate.night_id", record.night_id)
    record_property("gate.verdict", verdict)
    for unit in judged(record).units:
        for cell in unit.cells:
            # The timed variant gives no name of its own; a workload without variants has its name.
            name = cell.metric if unit.variant == harness_run.options.variant else f"{unit.variant}.{cell.metric}"
            record_property(f"gate.{name}.change", cell.first.change)
            record_property(f"gate.{name}.detectable", cell.first.detectable)
    require_decided(record)
    if verdict == "warn":
        warnings.warn(GateWarning(gate_message(record)), stacklevel=1)
    if verdict == "fail":
        pytest.fail(gate_message(record), pytrace=False)
