"""Where does the time go? With --profile: per operator and per module, from an archive with marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.session import RunSession


@pytest.mark.harness_step("profile")
def test_profile(
    harness_run: RunSession, harness_facts: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    found = harness_run.profile()
    if found.overhead is not None and not found.emulated:
        record_property("profile.overhead", found.overhead.ratio - 1)
    counted = sum(site.total_ns for site in found.sites)
    assert 0 < counted <= found.total_ns, "kernels cannot take longer than the words they are of"
    assert all(site.calls for site in found.sites)
