"""Where does the time go? With --profile: per operator and per module, from an instrumented archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness.suites.chosen import models

if TYPE_CHECKING:
    from harness.run.session import RunSession


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each model."""
    metafunc.parametrize("model", models(metafunc))


@pytest.mark.harness_step("profile")
def test_profile(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    model: str,
    record_property: Callable[[str, object], None],
) -> None:
    for name in harness_run.of(model):
        found = harness_run.profile(name)
        if found.overhead is not None and not found.emulated:
            record_property(f"profile.{name}.overhead", found.overhead.ratio - 1)
        counted = sum(site.total_ns for site in found.sites)
        assert 0 < counted <= found.total_ns, f"kernels of {name} cannot take longer than the calls they are of"
        assert all(site.calls for site in found.sites)
