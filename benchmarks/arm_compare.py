"""Compare our inner loops with KleidiAI's and XNNPACK's, all played by the same model of a core.

For each number of rows the loops of a kernel are combined as its library does: a kernel of at most six rows takes
sixteen rows as 6 + 6 + 4, or as three times six if it has but one loop. The best kernel of a library stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.arm_mca import our_loop
from benchmarks.arm_peers import PeerKernel, multiply_adds, read_peers
from benchmarks.assembly import Loop
from benchmarks.mca import Estimate, McaFailed
from harness.compiler.kernels.choice import format_for
from harness.compiler.kernels.product import tile_heights
from harness.compiler.targets.cpus import CPUS
from harness.protocol.schema import Precision

ROWS = (1, 6, 16)
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
CPU_OF = {"neoverse-n1": "neoverse-n1", "neoverse-v2": "cortex-x4", "apple-m1": "apple-m1"}
"""What an archive for each core is compiled for, by the names of ``--mcpu``."""
NOT_ON = {
    "neoverse-n1": ("smmla", "fmlal", "fmlal2", "bfmmla", "bfdot"),
    "neoverse-v2": (),
    "apple-m1": ("smmla", "bfmmla", "bfdot"),
}
"""Instructions that the core itself does not have, although llvm-mca would play them."""
OURS, LIBRARIES = "ours", ("KleidiAI", "XNNPACK")

Play = Callable[[str, str, Precision, int, Loop], Estimate]


@dataclass
class Playing:
    """Play loops, and remember which the model refused: the checkouts are not ours."""

    play: Play
    refused: list[str] = field(default_factory=list)

    def __call__(self, core: str, kernel: PeerKernel) -> dict[int, Estimate]:
        if any(loop.count(*NOT_ON[core]) for loop in kernel.loops.values()):
            return {}
        try:
            return {
                rows: self.play(core, kernel.name, kernel.precision, rows, loop) for rows, loop in kernel.loops.items()
            }
        except McaFailed as error:
            self.refused.append(f"{core}, {kernel.name}: {str(error).splitlines()[0]}")
            return {}


@dataclass(frozen=True)
class Line:
    """Hold the best kernel of one library: multiply-adds a cycle that count for a result, and what its limit is.

    A multiply-add counts once, also if its activation has two parts; rows that are computed and thrown away do not.
    """

    core: str
    precision: Precision
    rows: int
    library: str
    kernel: str
    multiplies_with: str
    rate: float
    limit: float

    @property
    def ratio(self) -> float:
        return self.limit / self.rate


def compare(playing: Playing, folders: list[Path], cores: tuple[str, ...]) -> list[Line]:
    """Return a line for each core, precision, number of rows and library that has a kernel for them."""
    peers = read_peers(folders)
    found = []
    for core in cores:
        kernels = [(kernel, played) for kernel in peers if (played := playing(core, kernel))]
        for precision in PRECISIONS:
            for rows in ROWS:
                found.append(_ours(playing, core, precision, rows))
                lines = [
                    _line(core, rows, kernel, kernel.library, played, _greedy(rows, sorted(played)), 1)
                    for kernel, played in kernels
                    if kernel.precision == precision
                ]
                for library in LIBRARIES:
                    mine = [line for line in lines if line.library == library]
                    found += [max(mine, key=lambda line: line.rate)] if mine else []
    return found


def _ours(playing: Playing, core: str, precision: Precision, rows: int) -> Line:
    cpu = CPUS[CPU_OF[core]]
    form = format_for(precision, cpu.profile, one_row=rows == 1)
    heights = [1] if rows == 1 else tile_heights(rows, form)
    loops = {height: our_loop(cpu.profile, precision, height, cpu.llvm, cpu.attributes) for height in {*heights}}
    kernel = PeerKernel(OURS, precision, f"{cpu.profile.name}, {form.name}", loops)
    played = playing(core, kernel)
    computed = {height: -(-height // form.row_unit) * form.row_unit for height in loops}
    return _line(core, rows, kernel, OURS, played, heights, form.products, computed)


def _greedy(rows: int, heights: list[int]) -> list[int]:
    """Return the heights of the tiles of so many rows: the highest, then the lowest for the rest."""
    most = heights[-1]
    rest = rows % most
    return [most] * (rows // most) + ([next(height for height in heights if height >= rest)] if rest else [])


def _line(
    core: str,
    rows: int,
    kernel: PeerKernel,
    library: str,
    played: dict[int, Estimate],
    tiles: list[int],
    products: int,
    computed: dict[int, int] | None = None,
) -> Line:
    """Return the line of one kernel: cycles for each weight, of all tiles together, over the rows that count."""
    cycles = limit = 0.0
    for height in tiles:
        estimate = played[height]
        weights = estimate.multiply_adds / products / (computed or {}).get(height, height)
        cycles += estimate.cycles / weights
        limit = estimate.multiply_adds / products / estimate.limit
    names = sorted({i.split()[0] for loop in kernel.loops.values() for i in loop.instructions if multiply_adds(i)})
    kind = next(iter(loop for loop in kernel.loops.values())).instructions
    wide = any(multiply_adds(i) == 8 and i.startswith("fmla") for i in kind)
    with_ = "/".join(names) + (" .8h" if wide else "")
    return Line(core, kernel.precision, rows, library, kernel.name, with_, rows / cycles, limit)


def show_comparison(console: Console, lines: list[Line], refused: list[str]) -> None:
    for core in dict.fromkeys(line.core for line in lines):
        table = Table(
            title=f"{core}, estimated: multiply-adds a cycle, in brackets those of the multiplies alone",
            caption="ours / best: our rate over the better library's; above 1 we need fewer cycles",
        )
        for name in ("precision", "rows", OURS, *LIBRARIES, "ours / best"):
            table.add_column(name, justify="right")
        mine = [line for line in lines if line.core == core]
        for precision in PRECISIONS:
            for rows in ROWS:
                by = {line.library: line for line in mine if (line.precision, line.rows) == (precision, rows)}
                others = [by[name].rate for name in LIBRARIES if name in by]
                cells = [_cell(by.get(name)) for name in (OURS, *LIBRARIES)]
                ratio = f"{by[OURS].rate / max(others):.2f}" if others else "-"
                table.add_row(precision, str(rows), *cells, ratio)
        console.print(table)
    for text in refused:
        console.print(f"not played: {text}", markup=False)
    console.print("kernels written in C with intrinsics were not read; float16 sums are marked .8h")


def _cell(line: Line | None) -> str:
    return "-" if line is None else f"{line.rate:.1f} ({line.limit:.0f}) {line.multiplies_with}"
