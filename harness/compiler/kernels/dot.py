"""Integer dot products: one entry of :data:`INSTRUCTIONS` per way that int8 weights meet activations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.kernel import Buffers
from harness.compiler.kernels.vector import cast, flat, get, put, quotient, registers, span, splat

if TYPE_CHECKING:
    from harness.compiler.kernels.formats import Activations, IntegerFormat, Tile

Instruction = Callable[[Any, Any, Any, int], Any]
"""(int32 sums, one word of activations, int8 weights, lanes) to int32 sums."""


def pairs(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Two int16 products a lane; the int8 weights are widened as they are read."""
    name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[lanes]
    both = T.reinterpret(f"int16x{2 * lanes}", splat(x, lanes))
    return sums + T.call_llvm_pure_intrin(f"int32x{lanes}", name, both, cast("int16", weights, 2 * lanes))


def vnni(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Four byte products a lane, activations unsigned. LLVM 22 takes bytes; TVM's own intrinsic still gives words."""
    four = T.reinterpret(f"int8x{4 * lanes}", splat(x, lanes))
    name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
    return T.call_llvm_pure_intrin(f"int32x{lanes}", name, sums, four, weights)


def sdot(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Four signed byte products a lane (Armv8.2 dot product)."""
    four = T.reinterpret(f"int8x{4 * lanes}", splat(x, lanes))
    return T.call_llvm_pure_intrin(f"int32x{lanes}", "llvm.aarch64.neon.sdot", sums, four, weights)


def widening(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """One int16 product a lane."""
    return sums + splat(T.Cast("int32", x), lanes) * cast("int32", cast("int16", weights, lanes), lanes)


def smmla(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """A 2 x 8 by 8 x 2 byte product (Armv8.6 i8mm): lanes are (row 0, row 1) x (column 0, column 1)."""
    return T.call_llvm_pure_intrin(f"int32x{lanes}", "llvm.aarch64.neon.smmla", sums, x, weights)


INSTRUCTIONS: dict[str, Instruction] = {
    "pairs": pairs,
    "vnni": vnni,
    "sdot": sdot,
    "widening": widening,
    "smmla": smmla,
}


def matrix_dot(
    form: IntegerFormat, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, words: int
) -> Tile:
    """A tile by ``smmla``: ``first`` is even, rows come in pairs and columns in pairs."""
    row_pairs, column_pairs, lanes = rows // 2, form.columns // 2, form.lanes
    sums = [registers(column_pairs, lanes, "int32") for _ in range(row_pairs)]
    for register in itertools.chain.from_iterable(sums):
        put(register, splat(T.int32(0), lanes), lanes)
    dot = INSTRUCTIONS["smmla"]
    pairs_of_rows = flat(activations.data, (*list(activations.data.shape)[:2], 16))
    with T.serial(words) as k:
        # Rows first and each pair of columns when it is needed: 24 sums leave eight registers.
        xs = [T.bind(pairs_of_rows[quotient(first, 2) + pair, k, span(0, 16)]) for pair in range(row_pairs)]
        for column in range(column_pairs):
            weight = T.bind(weights["weight"][panel, k, span(column * 16, 16)])
            for pair, x in enumerate(xs):
                register = sums[pair][column]
                put(register, dot(get(register, lanes), x, weight, lanes), lanes)
    tile: Tile = []
    for pair in range(row_pairs):
        for parity in (0, 1):
            row = []
            for v in range(form.vectors):
                two = [get(sums[pair][2 * v + half], lanes) for half in (0, 1)]
                mine = [2 * parity, 2 * parity + 1, 2 * parity + 4, 2 * parity + 5]
                (joined,) = registers(1, lanes, "int32")
                put(joined, tvm.tirx.Shuffle(two, mine), lanes)
                row.append(form.scaled([joined], activations, first + 2 * pair + parity, weights, panel, v))
            tile.append(row)
    return tile
