"""The committed table of faults is the one that the tests' markers give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.programs
def test_the_table_is_made_from_the_tests() -> None:
    command = [sys.executable, str(ROOT / "tools/write_faults.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["Android", "iOS"])
def test_twenty_faults_and_more(kind: str) -> None:
    (count,) = re.findall(rf"## {kind}\n\n(\d+) faults", (ROOT / "docs/faults.md").read_text())
    assert int(count) >= 20
