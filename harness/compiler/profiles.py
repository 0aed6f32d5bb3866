"""What the kernels need to know of an instruction set: vector width and register tile.

The figures are counts of float32 lanes and rows; ``docs/performance.md`` says how they were found.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Tile sizes of one instruction set.

    ``lanes``: float32 lanes of a vector register. ``columns``: columns of a packed weight panel for products
    of many rows, ``rows``: rows of their register tile. ``vector_columns``: panel width for one row, wide
    enough to hide the latency of the multiply-adds. Widths are powers of two: LLVM splits others badly.
    """

    name: str
    lanes: int
    columns: int
    rows: int
    vector_columns: int

    def __post_init__(self) -> None:
        if self.rows % 2 or (self.rows // 2) * self.columns * 4 >= 1024:
            # Local buffers of 1,024 bytes or more become heap memory in TVM 0.27; a tile is kept in two halves.
            raise ValueError(f"profile {self.name}: rows must be even and half a tile smaller than 1,024 bytes")


AVX512 = Profile("avx512", lanes=16, columns=64, rows=6, vector_columns=64)
AVX2 = Profile("avx2", lanes=8, columns=16, rows=6, vector_columns=64)
NEON = Profile("neon", lanes=4, columns=16, rows=6, vector_columns=32)
