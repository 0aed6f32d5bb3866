"""Emit integer dot products.

:data:`INSTRUCTIONS` has one entry for each way to multiply int8 weights with activations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels.vector import cast, splat, spread

Instruction = Callable[[Any, Any, Any, int], Any]
"""(int32 sums, one word of activations, int8 weights, lanes) to int32 sums."""


def pairs(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return two int16 products a lane; the int8 weights are widened as they are read."""
    name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[lanes]
    both = T.reinterpret(f"int16x{2 * lanes}", spread(x, lanes))
    return sums + T.call_llvm_pure_intrin(f"int32x{lanes}", name, both, cast("int16", weights, 2 * lanes))


def vnni(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return four byte products a lane, activations unsigned.

    LLVM 22 takes bytes; TVM's own intrinsic still gives words.
    """
    four = T.reinterpret(f"int8x{4 * lanes}", spread(x, lanes))
    name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
    return T.call_llvm_pure_intrin(f"int32x{lanes}", name, sums, four, weights)


def vnni_nibbles(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return four byte products a lane, weights from 0 on and activations signed."""
    four = T.reinterpret(f"int8x{4 * lanes}", spread(x, lanes))
    name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
    return T.call_llvm_pure_intrin(f"int32x{lanes}", name, sums, weights, four)


def bytes_pairs(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return two byte products for each int16 sum, two sums a lane. Weights count from 0 on, activations are signed."""
    four = T.reinterpret(f"int8x{4 * lanes}", spread(x, lanes))
    name = {8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}[lanes]
    return sums + T.call_llvm_pure_intrin(f"int16x{2 * lanes}", name, weights, four)


def bytes_four(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return four byte products a lane, activations unsigned, by way of int16 sums of two.

    A sum of two saturates, so the magnitudes of two neighbouring weights may be at most 128 together.
    """
    four = T.reinterpret(f"int8x{4 * lanes}", spread(x, lanes))
    name = {8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}[lanes]
    return folded(sums, 1, T.call_llvm_pure_intrin(f"int16x{2 * lanes}", name, four, weights), lanes)


def folded(sums: Any, factor: Any, words: Any, lanes: int) -> Any:
    """Add ``factor`` times both int16 words of each lane to int32 sums."""
    name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[lanes]
    return sums + T.call_llvm_pure_intrin(f"int32x{lanes}", name, words, splat(T.int16(factor), 2 * lanes))


def sdot(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return four signed byte products a lane (Armv8.2 dot product)."""
    four = T.reinterpret(f"int8x{4 * lanes}", spread(x, lanes))
    # The third operand can be one lane of a vector.
    return T.call_llvm_pure_intrin(f"int32x{lanes}", "llvm.aarch64.neon.sdot", sums, weights, four)


def widening(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return one int16 product a lane."""
    return sums + splat(T.Cast("int32", x), lanes) * cast("int32", cast("int16", weights, lanes), lanes)


def smmla(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """Return a 2 x 8 by 8 x 2 byte product (Armv8.6 i8mm): lanes are (row 0, row 1) x (column 0, column 1)."""
    return T.call_llvm_pure_intrin(f"int32x{lanes}", "llvm.aarch64.neon.smmla", sums, x, weights)


INSTRUCTIONS: dict[str, Instruction] = {
    "pairs": pairs,
    "vnni": vnni,
    "vnni-nibbles": vnni_nibbles,
    "bytes": bytes_pairs,
    "bytes-four": bytes_four,
    "folded": folded,
    "sdot": sdot,
    "widening": widening,
    "smmla": smmla,
}
