"""Estimate what models of arm64 cores make of the kernels' inner loops; nothing is measured.

    python benchmarks/arm_mca.py                        # every arm64 instruction set, precision and tile
    python benchmarks/arm_mca.py --quick --json arm.json
    python benchmarks/arm_mca.py --peers KLEIDIAI XNNPACK    # beside the kernels in checkouts of these libraries

The loops are read from the assembly that LLVM writes for a product (256 x 512), and handed to ``llvm-mca``, which plays
them on its model of a core: neoverse-n1 stands for Cortex-A76, neoverse-v2 for Cortex-X, apple-m1 for Apple's big
cores. The model has no caches and no memory, so it shows whether a loop keeps the multipliers busy, not how fast a word
is. Which units the model has is printed: LLVM before 17 gives neoverse-n1 those of Cortex-A57. Exit status 3 without
``llvm-mca``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.assembly import Loop
from benchmarks.mca import TRIPLE, Estimate, estimate, find_mca
from benchmarks.tables import terminal
from harness.compiler.targets.profiles import NEON, NEON_DOT, NEON_I8MM, Profile
from harness.core.errors import HarnessError, UsageError
from harness.protocol.schema import Precision

CORES = ("neoverse-n1", "neoverse-v2", "apple-m1")
DEPTH, WIDTH = 256, 512
"""The product whose loops are read; its inner loop does not depend on them."""
MULTIPLIES = ("fmla", "fmlal", "fmlal2", "smlal", "smlal2", "smull", "mla", "sdot", "smmla")
"""The instructions that multiply, of our kernels."""
FEATURES = {
    NEON: ("cortex-a72", ()),
    NEON_DOT: ("cortex-a76", ()),
    NEON_I8MM: ("cortex-a710", ("-sve",)),
}
"""CPU and attributes that LLVM compiles for."""
CASES: tuple[tuple[Profile, Precision], ...] = (
    (NEON, "fp32"),
    (NEON, "fp16"),
    (NEON, "int8"),
    (NEON_DOT, "fp16"),
    (NEON_DOT, "int8"),
    (NEON_I8MM, "fp16"),
    (NEON_I8MM, "int8"),
)
QUICK: tuple[tuple[Profile, Precision], ...] = ((NEON, "fp16"), (NEON_DOT, "int8"))


def loops(quick: bool) -> list[tuple[str, Precision, int, Loop]]:
    """Return every case's inner loop, for one row and for a full tile of rows."""
    from harness.compiler.kernels.choice import format_for

    return [
        (profile.name, precision, rows, our_loop(profile, precision, rows, *FEATURES[profile]))
        for profile, precision in (QUICK if quick else CASES)
        for rows in (1, format_for(precision, profile, one_row=False).rows)
    ]


def our_loop(profile: Profile, precision: Precision, rows: int, cpu: str, attributes: tuple[str, ...]) -> Loop:
    """Return the inner loop of a product of so many rows, as LLVM writes it for that CPU."""
    import tvm

    from benchmarks.assembly import main_loop
    from harness.compiler.kernels.product import Product, product_kernel

    target = tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": cpu, "mattr": list(attributes)})
    kernel, _ = product_kernel(profile, precision, Product(DEPTH, WIDTH), (rows,))
    return main_loop(kernel, target, *MULTIPLIES)


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
    folders: Annotated[list[Path] | None, typer.Argument(help="with --peers: checkouts of KleidiAI, XNNPACK")] = None,
    peers: Annotated[bool, typer.Option("--peers", help="compare with the kernels in these checkouts")] = False,
    quick: Annotated[bool, typer.Option(help="two of the cases; with --peers one core")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all estimates here")] = None,
) -> None:
    """Estimate the inner loops of the arm64 kernels with llvm-mca. These are a model's figures, no measurement.

    Examples: python benchmarks/arm_mca.py --quick; python benchmarks/arm_mca.py --peers kleidiai XNNPACK
    """
    console = terminal()
    try:
        mca = find_mca()
        if peers != bool(folders):
            raise UsageError("--peers needs the folders of checkouts, and folders need --peers")
        if folders:
            document = _compare_with_peers(console, mca, folders, CORES[:1] if quick else CORES)
        else:
            document = _estimate_ours(console, mca, quick)
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    console.print("estimates of a model of a core by llvm-mca; nothing was measured")
    if json_path is not None:
        json_path.write_text(json.dumps({"tool": Path(mca).name, **document}, indent=1) + "\n", "utf-8")


def _estimate_ours(console: Console, mca: str, quick: bool) -> dict[str, Any]:
    console.print("reading the loops from the compiler")
    cases = loops(quick)
    estimates = [estimate(mca, core, *case) for core in CORES for case in cases]
    show(console, estimates)
    return {"estimates": [{**asdict(e), "ratio": e.ratio} for e in estimates]}


def _compare_with_peers(console: Console, mca: str, folders: list[Path], cores: tuple[str, ...]) -> dict[str, Any]:
    from benchmarks.arm_compare import Playing, compare, show_comparison

    playing = Playing(lambda core, name, precision, rows, loop: estimate(mca, core, name, precision, rows, loop))
    lines = compare(playing, folders, cores)
    show_comparison(console, lines, playing.refused)
    return {"comparison": [asdict(line) for line in lines], "refused": playing.refused}


if __name__ == "__main__":
    typer.run(main)
