"""The sources by which language models' archives and references are known again: all that they are made by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.models.language import reference, workload

FOLDER = Path(workload.__file__).parent
IMPORT = re.compile(r"^\s*from harness\.models\.language\.(\w+) import", re.MULTILINE)


def needed(first: str) -> set[str]:
    """Return a module's file and those of the folder that it imports, also through others."""
    found, left = set[str](), [first]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [f"{one}.py" for one in IMPORT.findall((FOLDER / name).read_text(encoding="utf-8"))]
    return found


OURS = ("network.py", "ops.py", "rotary.py")
"""Our own blocks, which ``loading.py`` compares with transformers'. The reference has transformers' answers alone."""


@pytest.mark.parametrize(
    ("first", "sources"), [("functions.py", workload.GRAPH), ("reference_worker.py", (*reference.SOURCES, *OURS))]
)
def test_none_is_left_out(first: str, sources: tuple[str, ...]) -> None:
    assert needed(first) - set(sources) == set()
