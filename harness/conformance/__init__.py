"""What every kind of device has to do, as scenarios that a kind's own tests derive from. This is a plugin of pytest.

A package that adds a kind of device takes them into its tests by ``pytest_plugins = ["harness.conformance"]`` in its
outermost conftest.py (docs/contributing/device.md).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.conformance.faults import Ends, fault_of


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fault(what, ends, keeps): a fault that the test makes happen, and how it ends (docs/faults.md)",
    )


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """Return how the fault ends by the test's own marker; a test that does not check it fails."""
    fault = fault_of(request.node)
    assert fault is not None
    declared = fault.ends
    declared.checked = False
    yield declared
    assert declared.checked, "the declared outcome was not checked"
