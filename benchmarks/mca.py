"""Let ``llvm-mca`` play a loop on its model of an arm64 core, and read what it answers."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from benchmarks.arm_peers import multiply_adds
from benchmarks.assembly import Loop
from harness.core.errors import HarnessError
from harness.protocol.schema import Precision

TRIPLE = "aarch64-linux-gnu"
VERSIONS = range(30, 13, -1)
ITERATIONS = 100
SUMS = (*range(14), *range(16, 32))
"""Registers that multiplies add to in turn, if none is to wait for another. A half's lane is one of v0 to v15."""
_MULTIPLY = re.compile(r"^(\w+)\s+v\d+\.(\w+),\s*v\d+\.(\w+),\s*v\d+\.(\S+)$")
_UNIT_NUMBER = re.compile(r"\.[\x00-\x1f]$")
"""How llvm-mca distinguishes units of one kind."""


class McaMissing(HarnessError):
    """``llvm-mca`` is not installed."""

    cure = "install LLVM's tools: apt-get install llvm-19 (or llvm)"


class McaFailed(HarnessError):
    """``llvm-mca`` refused a loop, or answered what cannot be read."""

    cure = "run it by hand on the loop above; another version of LLVM may know the instructions"


@dataclass(frozen=True)
class Estimate:
    """Of one loop on one core. ``limit``: the cycles that the loop's multiplies take alone, if none waits for another.
    ``bottleneck``: what holds it back in the model."""

    core: str
    units: str
    profile: str
    precision: str
    rows: int
    instructions: int
    multiply_adds: int
    cycles: float
    limit: float
    bottleneck: str

    @property
    def ratio(self) -> float:
        return self.cycles / self.limit


def find_mca() -> str:
    """Return the newest ``llvm-mca`` there is. Raises McaMissing."""
    names = [f"llvm-mca-{version}" for version in VERSIONS] + ["llvm-mca"]
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise McaMissing("llvm-mca was not found")
    return found


def play(mca: str, core: str, loop: Loop) -> dict[str, Any]:
    """Return the model's answer for one loop. Raises McaFailed."""
    text = "\n".join(loop.instructions) + "\n"
    options = [
        f"-mtriple={TRIPLE}",
        f"-mcpu={core}",
        "-mattr=+dotprod,+i8mm,+fullfp16,+fp16fml",
        f"-iterations={ITERATIONS}",
    ]
    done = subprocess.run(
        [mca, *options, "-json"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        raise McaFailed(f"llvm-mca for {core}: {done.stderr.strip()}\n{text}")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise McaFailed(f"llvm-mca for {core} answered no JSON: {error}") from error
    return answer


def estimate(mca: str, core: str, profile: str, precision: Precision, rows: int, loop: Loop) -> Estimate:
    """Return what the model makes of one loop. Raises McaFailed, also for a loop that multiplies nothing."""
    answer = play(mca, core, loop)
    region, resources = answer["CodeRegions"][0], answer["TargetInfo"]["Resources"]
    summary = region["SummaryView"]
    multiplies = tuple(instruction for instruction in loop.instructions if multiply_adds(instruction))
    if not multiplies:
        raise McaFailed(f"the loop of {profile} {precision} multiplies nothing:\n{' / '.join(loop.instructions)}")
    pressure: dict[int, float] = {}
    for entry in region["ResourcePressureView"]["ResourcePressureInfo"]:
        at, unit, usage = entry["InstructionIndex"], entry["ResourceIndex"], float(entry["ResourceUsage"])
        if at < len(loop.instructions):  # behind them stands the sum
            pressure[unit] = pressure.get(unit, 0.0) + usage
    cycles = summary["TotalCycles"] / summary["Iterations"]
    return Estimate(
        core=core,
        units=re.split(r"Unit", resources[0])[0] + f", {summary['DispatchWidth']} wide",
        profile=profile,
        precision=precision,
        rows=rows,
        instructions=len(loop.instructions),
        multiply_adds=sum(map(multiply_adds, loop.instructions)),
        cycles=cycles,
        limit=least_cycles(mca, core, multiplies),
        bottleneck=_bottleneck(cycles, summary, {resources[unit]: used for unit, used in pressure.items()}),
    )


@functools.cache
def least_cycles(mca: str, core: str, multiplies: tuple[str, ...]) -> float:
    """Return the cycles that these instructions take if none waits for another."""
    # A short loop is repeated until every register has been added to.
    times = -(-len(SUMS) // len(multiplies))
    alone = []
    for at, instruction in enumerate(multiplies * times):
        found = _MULTIPLY.match(instruction)
        if found is None:
            raise McaFailed(f"{instruction!r} does not multiply two registers and add to a third")
        alone.append(f"{found[1]} v{SUMS[at % len(SUMS)]}.{found[2]}, v14.{found[3]}, v15.{found[4]}")
    summary = play(mca, core, Loop(tuple(alone)))["CodeRegions"][0]["SummaryView"]
    return float(summary["TotalCycles"] / summary["Iterations"] / times)


def _bottleneck(cycles: float, summary: dict[str, Any], pressure: dict[str, float]) -> str:
    """Return what comes within a tenth of the cycles: the busiest unit, or the width of dispatch; else dependencies."""
    dispatch = summary["TotaluOps"] / summary["Iterations"] / summary["DispatchWidth"]
    unit, used = max(pressure.items(), key=lambda pair: pair[1])
    if max(used, dispatch) < 0.9 * cycles:
        return "dependencies"
    return _UNIT_NUMBER.sub("", unit) if used >= dispatch else "dispatch"
