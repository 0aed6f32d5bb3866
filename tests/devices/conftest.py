"""What the tests of faults on every kind of device need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices.faults import Ends


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """How the test's own marker says that the fault ends; a test that does not check it fails."""
    marker = request.node.get_closest_marker("fault")
    declared: Ends = marker.kwargs["ends"]
    declared.checked = False
    yield declared
    assert declared.checked, "the declared outcome was not checked"
