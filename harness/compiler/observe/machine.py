"""Define small TIR kernels that do one thing as fast as the machine can: read memory, multiply and add.

Sums are in vector registers, enough of them to hide the latency of an addition. Every kernel returns its sums, and each
repetition depends on the one before, so that LLVM can leave no work out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from harness.compiler.kernels.vector import get, put, registers, span

CHAINS = 12
"""The number of independent sums. It is more than latency times throughput of common multiply-adds (about 4 x 2), and
together with the factors still less than the 16 vector registers of AVX2."""
STREAMS = 8
"""The number of vectors in one row of the read kernel, each added to a sum of its own."""


@dataclass(frozen=True)
class Dot:
    """Describe an integer dot product: LLVM's intrinsic, operand type, products a lane, whether it adds to its sums."""

    intrinsic: str
    dtype: str
    per_lane: int
    fused: bool


DOTS = {
    ("pairs", 8): Dot("llvm.x86.avx2.pmadd.wd", "int16", 2, fused=False),
    ("pairs", 16): Dot("llvm.x86.avx512.pmaddw.d.512", "int16", 2, fused=False),
    ("vnni", 16): Dot("llvm.x86.avx512.vpdpbusd.512", "int8", 4, fused=True),
    ("sdot", 4): Dot("llvm.aarch64.neon.sdot", "int8", 4, fused=True),
}
"""The dot products by name (see ``harness.compiler.targets.profiles``) and int32 lanes of a vector."""


def function(name: str, emit: Callable[[], None]) -> Any:
    """Return the statements of ``emit`` as a TIR function of that symbol."""
    with IRBuilder() as builder, T.prim_func():
        T.func_name(name)
        T.func_attr({"tirx.noalias": True, "global_symbol": name})
        emit()
    return builder.get()


def emit_read(lanes: int) -> None:
    """Emit the read kernel, which reads x ``passes`` times.

    Its parameters are x float32 [N, STREAMS * lanes], passes int32 [1] and sums float32 [STREAMS * lanes].
    """
    columns = STREAMS * lanes
    x = T.arg("x", T.Buffer((tvm.tirx.Var("rows", "int64"), columns), "float32"))
    passes = T.arg("passes", T.Buffer((1,), "int32"))
    sums = T.arg("sums", T.Buffer((columns,), "float32"))
    chains = started(STREAMS, lanes, "float32")
    with T.serial(passes[0]), T.serial(x.shape[0]) as row:
        for at, register in enumerate(chains):
            put(register, get(register, lanes) + x[row, span(at * lanes, lanes)], lanes)
    for at, register in enumerate(chains):
        T.buffer_store(sums, get(register, lanes), [span(at * lanes, lanes)])


def emit_multiply_add(lanes: int) -> None:
    """Emit the kernel sum = sum * first + second.

    Its parameters are factors float32 [2, lanes], repeats int32 [1] and sums float32 [CHAINS, lanes].
    """
    factors = T.arg("factors", T.Buffer((2, lanes), "float32"))
    first, second = (T.bind(factors[at, span(0, lanes)]) for at in range(2))
    _emit_chains(lanes, "float32", lambda total: total * first + second)


def emit_dot(lanes: int, dot: Dot) -> None:
    """Emit the kernel of one dot product per sum and repeat.

    Its parameters are x int32 [2, lanes], repeats int32 [1] and sums int32 [CHAINS, lanes]. The words of ``x`` hold
    ``per_lane`` numbers each. The sums wrap around, which does not matter here. A dot product that does not add takes
    the sum itself as an operand: with a constant one, LLVM would compute it once.
    """
    result, operand = f"int32x{lanes}", f"{dot.dtype}x{lanes * dot.per_lane}"
    x = T.arg("x", T.Buffer((2, lanes), "int32"))
    first, second = (T.bind(T.reinterpret(operand, x[at, span(0, lanes)])) for at in range(2))

    def product(total: Any) -> Any:
        if dot.fused:
            return T.call_llvm_pure_intrin(result, dot.intrinsic, total, first, second)
        return total + T.call_llvm_pure_intrin(result, dot.intrinsic, T.reinterpret(operand, total), second)

    _emit_chains(lanes, "int32", product)


def _emit_chains(lanes: int, dtype: str, following: Callable[[Any], Any]) -> None:
    repeats = T.arg("repeats", T.Buffer((1,), "int32"))
    sums = T.arg("sums", T.Buffer((CHAINS, lanes), dtype))
    chains = started(CHAINS, lanes, dtype)
    with T.serial(repeats[0]):
        for register in chains:
            put(register, following(get(register, lanes)), lanes)
    for at, register in enumerate(chains):
        T.buffer_store(sums, get(register, lanes), [at, span(0, lanes)])


def started(count: int, lanes: int, dtype: str) -> list[Any]:
    """Return sums in vector registers. They begin as 0, 1, 2, …, so that they differ."""
    sums = registers(count, lanes, dtype)
    for start, register in enumerate(sums):
        put(register, T.broadcast(tvm.tirx.const(start, dtype), lanes), lanes)
    return sums
