"""Describe instruction sets for the kernels: vector width, register tiles, integer dot products.

The figures are counts of float32 lanes and rows; ``docs/performance.md`` explains how they were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IntegerDot = Literal["pairs", "vnni", "sdot", "smmla", "widening"]
"""The instruction that multiplies int8 weights with activations:

``pairs``: int16 activations, two products a lane (x86 ``vpmaddwd``); ``vnni``: four bytes a lane, activations
unsigned (``vpdpbusd``); ``sdot``: the same, both signed (Armv8.2 dot product); ``smmla``: 2 x 8 by 8 x 2 byte
matrices (Armv8.6 i8mm); ``widening``: one product a lane, for any CPU.
"""

HalfProduct = Literal["widened", "sdot", "smmla"]
"""How 16-bit weights are multiplied:

``widened``: float16, each converted to float32, for any CPU; ``sdot`` and ``smmla``: fixed-point numbers of two bytes,
by byte products. On arm64 a conversion takes as long as four multiply-adds. Sums in float16 (``fmla`` of halves)
have 2.5 times the error of ``widened`` even if only eight products are added before they go to float32, and products
of halves with float32 sums (``fmlal``) are a quarter slower than three byte products, at five times their error.
"""

ALIGNMENT = 64
"""Bytes of a cache line, and of the widest vector register."""


@dataclass(frozen=True)
class Profile:
    """Hold the tile sizes of one instruction set.

    ``lanes``: float32 lanes of a vector register. ``columns``: columns of a packed weight panel for products of many
    rows, ``rows``: the most rows of their register tile. ``vector_columns``: the panel width for one row, wide enough
    to hide the latency of the multiply-adds. Widths are powers of two, because LLVM splits others badly. ``integer``:
    the dot product of one-row int8 products, ``integer_rows``: that of products of many rows. ``half``: the product of
    16-bit weights, ``half_rows``: the most rows of its register tile, where it is one of bytes.

    ``rows_by_lane``: the most rows of a tile whose activations are read a vector at a time, because instructions
    multiply by a lane of it; 0 if there are none such. More would not leave registers for the vectors.
    """

    name: str
    lanes: int
    columns: int
    rows: int
    vector_columns: int
    integer: IntegerDot
    integer_rows: IntegerDot
    half: HalfProduct = "widened"
    half_rows: int = 0
    rows_by_lane: int = 0

    def __post_init__(self) -> None:
        for columns in (self.columns, self.vector_columns):
            if columns % (2 * self.lanes):
                raise ValueError(f"profile {self.name}: {columns} columns are not pairs of {self.lanes}-lane vectors")


AVX2 = Profile("avx2", 8, columns=16, rows=6, vector_columns=64, integer="pairs", integer_rows="pairs")
AVX512 = Profile("avx512", 16, columns=32, rows=14, vector_columns=128, integer="pairs", integer_rows="pairs")
AVX512_VNNI = Profile("avx512-vnni", 16, columns=32, rows=14, vector_columns=128, integer="vnni", integer_rows="vnni")


def _neon(
    name: str,
    integer: IntegerDot,
    integer_rows: IntegerDot,
    half: HalfProduct = "widened",
    half_rows: int = 0,
) -> Profile:
    return Profile(
        name,
        4,
        columns=16,
        rows=6,
        vector_columns=32,
        integer=integer,
        integer_rows=integer_rows,
        half=half,
        half_rows=half_rows,
        rows_by_lane=5,
    )


NEON = _neon("neon", "widening", "widening")
NEON_DOT = _neon("neon-dot", "sdot", "sdot", "sdot", 2)
NEON_I8MM = _neon("neon-i8mm", "smmla", "smmla", "smmla", 3)

PROFILES = (AVX2, AVX512, AVX512_VNNI, NEON, NEON_DOT, NEON_I8MM)
