"""Estimate what models of arm64 cores make of the kernels' inner loops; nothing is measured.

    python benchmarks/arm_mca.py                        # every arm64 instruction set, precision and tile
    python benchmarks/arm_mca.py --quick --json arm.json

The loops are read from the assembly that LLVM writes for a product (256 x 512), and handed to ``llvm-mca``, which plays
them on its model of a core: neoverse-n1 stands for Cortex-A76, apple-m1 for Apple's big cores. The model has
no caches and no memory, so it shows whether a loop keeps the multipliers busy, not how fast a word is. Which units the
model has is printed: LLVM before 17 gives neoverse-n1 those of Cortex-A57. Exit status 3 without ``llvm-mca``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.assembly import Loop
from benchmarks.tables import terminal
from harness.compiler.targets.profiles import NEON, NEON_DOT, NEON_I8MM, Profile
from harness.core.errors import HarnessError
from harness.protocol.schema import Precision

TRIPLE = "aarch64-linux-gnu"
CORES = ("neoverse-n1", "apple-m1")
VERSIONS = range(30, 13, -1)
ITERATIONS = 100
DEPTH, WIDTH = 256, 512
"""The product whose loops are read; its inner loop does not depend on them."""
MULTIPLIES = {"fmla": 4, "smlal": 4, "smlal2": 4, "smull": 4, "mla": 4, "sdot": 16, "smmla": 32}
"""Multiply-adds of one instruction on 128-bit registers."""
FEATURES = {
    NEON: ("cortex-a72", ()),
    NEON_DOT: ("cortex-a76", ()),
    NEON_I8MM: ("generic", ("+v8.2a", "+dotprod", "+i8mm")),
}
"""CPU and attributes that LLVM compiles for."""
CASES: tuple[tuple[Profile, Precision], ...] = (
    (NEON, "fp32"),
    (NEON, "fp16"),
    (NEON, "int8"),
    (NEON_DOT, "int8"),
    (NEON_I8MM, "int8"),
)


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
    """Of one loop on one core. ``limit``: the fewest cycles in which the units that multiply can do the loop's
    multiplies. ``bottleneck``: what holds it back in the model."""

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
    options = [f"-mtriple={TRIPLE}", f"-mcpu={core}", "-mattr=+dotprod,+i8mm,+fullfp16", f"-iterations={ITERATIONS}"]
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


def estimate(mca: str, core: str, profile: Profile, precision: Precision, rows: int, loop: Loop) -> Estimate:
    answer = play(mca, core, loop)
    region, resources = answer["CodeRegions"][0], answer["TargetInfo"]["Resources"]
    summary = region["SummaryView"]
    multiplies = [at for at, mnemonic in enumerate(loop.mnemonics) if mnemonic in MULTIPLIES]
    if not multiplies:
        raise McaFailed(f"the loop of {profile.name} {precision} multiplies nothing:\n{' / '.join(loop.instructions)}")
    pressure: dict[int, float] = {}
    busy: dict[int, float] = {}
    for entry in region["ResourcePressureView"]["ResourcePressureInfo"]:
        at, unit, usage = entry["InstructionIndex"], entry["ResourceIndex"], float(entry["ResourceUsage"])
        if at < len(loop.instructions):  # behind them stands the sum
            pressure[unit] = pressure.get(unit, 0.0) + usage
        if at in multiplies:
            busy[unit] = busy.get(unit, 0.0) + usage
    cycles = summary["TotalCycles"] / summary["Iterations"]
    return Estimate(
        core=core,
        units=re.split(r"Unit", resources[0])[0] + f", {summary['DispatchWidth']} wide",
        profile=profile.name,
        precision=precision,
        rows=rows,
        instructions=len(loop.instructions),
        multiply_adds=sum(MULTIPLIES.get(mnemonic, 0) for mnemonic in loop.mnemonics),
        cycles=cycles,
        limit=sum(busy.values()) / len(busy),
        bottleneck=_bottleneck(cycles, summary, {resources[unit]: used for unit, used in pressure.items()}),
    )


def _bottleneck(cycles: float, summary: dict[str, Any], pressure: dict[str, float]) -> str:
    """Return what comes within a tenth of the cycles: the busiest unit, or the width of dispatch; else dependencies."""
    dispatch = summary["TotaluOps"] / summary["Iterations"] / summary["DispatchWidth"]
    unit, used = max(pressure.items(), key=lambda pair: pair[1])
    if max(used, dispatch) < 0.9 * cycles:
        return "dependencies"
    return _UNIT_NUMBER.sub("", unit) if used >= dispatch else "dispatch"


def loops(quick: bool) -> list[tuple[Profile, Precision, int, Loop]]:
    """Return every case's inner loop, for one row and for a full tile of rows."""
    import tvm

    from benchmarks.assembly import main_loop
    from harness.compiler.kernels.product import Product, product_kernel

    found = []
    for profile, precision in CASES[1::2] if quick else CASES:
        cpu, attributes = FEATURES[profile]
        target = tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": cpu, "mattr": list(attributes)})
        for rows in (1, profile.rows):
            kernel, _ = product_kernel(profile, precision, Product(DEPTH, WIDTH), (rows,))
            found.append((profile, precision, rows, main_loop(kernel, target, *MULTIPLIES)))
    return found


def show(console: Console, estimates: list[Estimate]) -> None:
    for core in dict.fromkeys(e.core for e in estimates):
        mine = [e for e in estimates if e.core == core]
        table = Table(
            title=f"{core} (units: {mine[0].units}), estimated",
            caption="of limit: cycles over the fewest that the multiplies alone could take",
        )
        for name in ("instruction set", "precision", "rows", "instructions", "cycles"):
            table.add_column(name, justify="right")
        for name in ("multiply-adds / cycle", "of limit", "held back by"):
            table.add_column(name, justify="right")
        for e in mine:
            rate = f"{e.multiply_adds / e.cycles:.1f}"
            figures = (str(e.rows), str(e.instructions), f"{e.cycles:.1f}", rate, f"{e.ratio:.2f}")
            table.add_row(e.profile, e.precision, *figures, e.bottleneck)
        console.print(table)


def main(
    quick: Annotated[bool, typer.Option(help="two of the five cases")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all estimates here")] = None,
) -> None:
    """Estimate the inner loops of the arm64 kernels with llvm-mca. These are a model's figures, no measurement.

    Examples: python benchmarks/arm_mca.py --quick; python benchmarks/arm_mca.py --json arm.json
    """
    console = terminal()
    try:
        mca = find_mca()
        console.print("reading the loops from the compiler")
        cases = loops(quick)
        estimates = [estimate(mca, core, *case) for core in CORES for case in cases]
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    show(console, estimates)
    console.print("estimates of a model of a core by llvm-mca; nothing was measured")
    if json_path is not None:
        rows = [{**asdict(e), "ratio": e.ratio} for e in estimates]
        json_path.write_text(json.dumps({"tool": Path(mca).name, "estimates": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
