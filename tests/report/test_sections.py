"""Sections of other packages: shown in their place, and named where they fail."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from harness.report import report_run, to_markdown
from harness.report.document import Block, Heading, Line
from harness.report.sections import GROUP, ReportSection
from harness.results.schema import Manifest, Summary
from tests.results.samples import make_run


def orders(manifest: Manifest, _summary: Summary) -> Iterator[Block]:
    yield Heading("Orders")
    yield Line(f"{len(manifest.orders)} orders")


def broken(_manifest: Manifest, _summary: Summary) -> Iterator[Block]:
    raise ZeroDivisionError("by zero \x1b[31m")


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a section, one that fails, one that is none, and one that cannot be imported."""
    module = ModuleType("sections_of_others")
    vars(module).update(GOOD=ReportSection(55, orders), BROKEN=ReportSection(1, broken), NONE=7)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    own = list(importlib.metadata.entry_points(group=GROUP))
    more = [
        EntryPoint(name.lower(), f"sections_of_others:{name}", GROUP) for name in ("GOOD", "BROKEN", "NONE", "GONE")
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [*own, *more, *more])


@pytest.mark.usefixtures("others")
def test_sections_of_others_stand_in_their_place_or_show_why_not(tmp_path: Path) -> None:
    text = to_markdown(report_run(make_run(tmp_path)))
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    assert headings.count("Orders") == 1
    assert headings.index("Compared with PyTorch") < headings.index("Orders") < headings.index("Facts")
    assert "1 orders" in text
    assert "the section broken (sections_of_others:BROKEN) cannot be shown: by zero" in text.replace("\\", "")
    assert "the section none (sections_of_others:NONE) cannot be shown: it is not a ReportSection: 7" in text.replace(
        "\\", ""
    )
    assert "the section gone" in text
    assert "\x1b" not in text
