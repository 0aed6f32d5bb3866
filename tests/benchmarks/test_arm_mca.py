"""The estimate of arm64 loops: with the real llvm-mca, on loops whose figures are known, and where it is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.arm_mca import CORES
from benchmarks.assembly import Loop
from benchmarks.mca import McaFailed, estimate, find_mca
from harness.core.errors import ExitCode
from tests.environment import python_path

pytestmark = pytest.mark.compiler

ROOT = Path(__file__).parents[2]


def command(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(
        [sys.executable, "benchmarks/arm_mca.py", *options],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": python_path(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.thorough
def test_the_command_estimates_every_case_and_prints_that_it_does(tmp_path: Path) -> None:
    done = command("--quick", "--json", str(tmp_path / "arm.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was measured" in done.stdout
    rows = json.loads((tmp_path / "arm.json").read_text())["estimates"]
    assert {row["core"] for row in rows} == set(CORES)
    assert {(row["profile"], row["precision"], row["rows"]) for row in rows} == {
        ("neon", "fp16", 1),
        ("neon", "fp16", 6),
        ("neon-dot", "int8", 1),
        ("neon-dot", "int8", 5),
    }
    for row in rows:
        assert 1.0 <= row["ratio"] < 20, row
    # Four words of five rows by four vectors of 16 byte products, and of one row, in two limbs, by eight.
    assert {row["multiply_adds"] for row in rows if row["precision"] == "int8"} == {4 * 5 * 4 * 16, 4 * 2 * 8 * 16}


@pytest.mark.parametrize("core", CORES)
def test_a_chain_of_multiplies_waits_for_itself(core: str) -> None:
    """Sums that do not depend on each other go on side by side: the same work in fewer cycles."""
    chain = Loop(("fmla v0.4s, v30.4s, v31.s[0]",) * 8)
    apart = Loop(tuple(f"fmla v{at}.4s, v30.4s, v31.s[0]" for at in range(8)))
    waiting, flowing = (estimate(find_mca(), core, "neon", "fp32", 1, loop) for loop in (chain, apart))
    assert waiting.multiply_adds == flowing.multiply_adds == 32
    assert waiting.bottleneck == "dependencies"
    assert waiting.cycles > 2 * flowing.cycles
    assert waiting.limit == pytest.approx(flowing.limit, rel=0.1)


def test_what_cannot_be_estimated_is_reported() -> None:
    with pytest.raises(McaFailed, match="multiplies nothing"):
        estimate(find_mca(), CORES[0], "neon", "fp32", 1, Loop(("add x0, x0, #1",)))
    with pytest.raises(McaFailed, match="frobnicate"):
        estimate(find_mca(), CORES[0], "neon", "fp32", 1, Loop(("frobnicate v0.4s",)))


def test_without_llvm_mca_the_cure_is_named(tmp_path: Path) -> None:
    done = command(path=str(tmp_path))
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "apt-get install llvm" in done.stdout
