"""Stored runs, nightly runs and an explanation: what every format contains of them."""

from __future__ import annotations

import pytest

from tests.report.formats import GOLDEN, KINDS, formats

FACES = ("terminal.txt", "report.md", "page.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_as_kept(kind: str) -> None:
    found = formats(kind)
    assert set(found) == set(FACES)
    for name, text in found.items():
        kept = (GOLDEN / kind / name).read_text(encoding="utf-8")
        assert text == kept, f"{kind}/{name} differs; python -m tests.report.formats writes what it is today"
