"""The listings of a kernel's way are what the compiler makes today."""

from __future__ import annotations

import json

import pytest

from tools.kernel_stages import LISTINGS, stages

pytestmark = pytest.mark.compiler


def test_the_listings_are_those_of_a_compile() -> None:
    assert stages() == json.loads(LISTINGS.read_text(encoding="utf-8")), "run python -m tools.kernel_stages"
