"""What the tests of faults on every kind of device need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices.faults import Ends, fault_of


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """How the fault ends by the test's own marker; a test that does not check it fails."""
    fault = fault_of(request.node)
    assert fault is not None
    declared = fault.ends
    declared.checked = False
    yield declared
    assert declared.checked, "the declared outcome was not checked"
