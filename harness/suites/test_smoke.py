"""Does it run at all? The runner starts, contains every model, and gets through a few items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.protocol.schema import Load
from harness.suites.chosen import models

if TYPE_CHECKING:
    from harness.run.session import RunSession


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each model."""
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", models(metafunc))


@pytest.mark.harness_step("describe")
def test_the_runner_starts_and_holds_the_archive(harness_run: RunSession, harness_facts: dict[str, Any]) -> None:
    variant = harness_run.options.variant
    metadata = harness_run.runner(variant).archive.metadata
    description = harness_run.describe(variant)
    assert description.archive_sha256 == metadata.archive_sha256
    assert metadata.prefix_base in description.prefixes


@pytest.mark.harness_step("smoke")
def test_every_function_loads_and_a_few_items_run(harness_run: RunSession, model: str) -> None:
    for name in harness_run.of(model):
        result = harness_run.workloads[name].smoke().require_complete()
        loaded = {(record.workload, record.function) for record in result.records if isinstance(record, Load)}
        assert loaded == {(name, function) for function in harness_run.functions(name)}, "and nothing of other models"
