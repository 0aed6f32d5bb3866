"""Processes whose clock is wrong (``clock.c``). libfaketime would do, if Python's sleep survived it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def compile_clock(folder: Path) -> Path:
    """What makes a process's clock wrong, once it is loaded before everything else."""
    found = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(found), str(source), "-ldl"], check=True)
    return found


def off_by(library: Path, seconds: float) -> dict[str, str]:
    """The environment of a process whose clock is off."""
    return {**os.environ, "LD_PRELOAD": str(library), "CLOCK_OFF_BY": f"{seconds:.0f}"}
