"""Provide the fixtures for tests on devices, for the suites and for a project's own tests (docs/fixtures.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import HarnessError
from harness.pytest_plugin.session import PLUGIN

if TYPE_CHECKING:
    from harness.pytest_plugin.api import HarnessModel
    from harness.run.session import RunSession


@pytest.fixture(scope="session")
def harness_run(request: pytest.FixtureRequest) -> RunSession:
    """Return the run on this test's device; its steps are made when they are first asked for."""
    run = request.config.stash[PLUGIN].runs[getattr(request, "param", 0)]
    if isinstance(run, HarnessError):
        raise run
    return run


@pytest.fixture(scope="session")
def harness_model(harness_run: RunSession) -> Callable[[str], HarnessModel]:
    """Return ``harness_model(name)``, which returns a model of the run with its answers and times."""
    from harness.pytest_plugin.api import HarnessModel

    return lambda name: HarnessModel(harness_run, name)


@pytest.fixture(scope="session")
def harness_facts(
    request: pytest.FixtureRequest, harness_run: RunSession, record_testsuite_property: Callable[[str, object], None]
) -> dict[str, Any]:
    """Return facts about the whole run, for JUnit XML and for pytest-benchmark's ``extra_info``."""
    generations = [one for one in harness_run.context.workloads if one.variants]
    facts = {
        "run_id": harness_run.run_id,
        "device": harness_run.device.name,
        "emulated": harness_run.device.emulated,
        "checkpoint": harness_run.label,
        "checkpoint_sha256": next((one.weights_sha256 for one in generations), None),
        "words": sum(len(one.items) for one in generations),
        "threads": harness_run.options.threads,
    }
    several = len(request.config.stash[PLUGIN].runs) > 1
    for name, value in facts.items():
        record_testsuite_property(f"harness.{harness_run.device.name}.{name}" if several else f"harness.{name}", value)
    return facts
