"""Stored runs, nightly runs and an explanation: what every face says of them."""

from __future__ import annotations

import pytest

from tests.report.faces import GOLDEN, KINDS, faces

FACES = ("terminal.txt", "report.md", "page.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_every_face_says_what_it_is_to_say(kind: str) -> None:
    found = faces(kind)
    assert set(found) == set(FACES)
    for name, text in found.items():
        kept = (GOLDEN / kind / name).read_text(encoding="utf-8")
        assert text == kept, f"{kind}/{name} differs; python -m tests.report.faces writes what is said today"
