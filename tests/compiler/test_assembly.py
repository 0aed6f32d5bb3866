"""What LLVM makes of the products' inner loops, for every instruction set, whatever CPU the test runs on."""

from __future__ import annotations

import re
from typing import Any

import pytest
import tvm
from tvm import topi

from benchmarks.assembly import Loop, inner_loops, kernel_assembly, main_loop
from harness.compiler.kernels import arithmetic
from harness.compiler.kernels.choice import format_for
from harness.compiler.kernels.product import Product, product_kernel
from harness.compiler.schedule.rest import scheduled
from harness.compiler.settings import PASS_CONFIG
from harness.compiler.targets.profiles import (
    AVX2,
    AVX512,
    AVX512_VNNI,
    NEON,
    NEON_DOT,
    NEON_I8MM,
    Profile,
)
from harness.protocol.schema import Precision
from tests.compiler import schedules

pytestmark = pytest.mark.compiler

X86, ARM = "x86_64-linux-gnu", "aarch64-linux-gnu"
TARGETS = {
    AVX2: (X86, "x86-64-v3", []),
    AVX512: (X86, "x86-64-v4", ["-prefer-256-bit"]),
    AVX512_VNNI: (X86, "x86-64-v4", ["-prefer-256-bit", "+avx512vnni"]),
    NEON: (ARM, "cortex-a72", []),
    NEON_DOT: (ARM, "cortex-a76", []),
    NEON_I8MM: (ARM, "cortex-a710", ["-sve"]),
}
X86_FMA = ("vfmadd231ps", "vfmadd213ps", "vfmadd132ps")
ARM_FMA = ("fmla",)


def loop_of(profile: Profile, precision: Precision, rows: int, *mnemonics: str) -> Loop:
    triple, cpu, attributes = TARGETS[profile]
    target = tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": attributes})
    kernel, _ = product_kernel(profile, precision, Product(256, 512), (rows,))
    return main_loop(kernel, target, *mnemonics)


@pytest.mark.parametrize("tile", ["one row", "full tile"])
@pytest.mark.parametrize(
    ("profile", "precision", "mnemonics"),
    [
        (AVX2, "fp32", X86_FMA),
        (AVX2, "fp16", X86_FMA),
        (AVX2, "int8", ("vpmaddwd",)),
        (AVX512, "fp32", X86_FMA),
        (AVX512, "int8", ("vpmaddwd",)),
        (AVX512_VNNI, "int8", ("vpdpbusd",)),
        (NEON, "fp32", ARM_FMA),
        (NEON, "fp16", ARM_FMA),
        (NEON, "int8", ("smlal", "smlal2")),
        (NEON_DOT, "fp16", ("sdot",)),
        (NEON_I8MM, "fp16", ("smmla",)),
        (NEON_DOT, "int8", ("sdot",)),
        (NEON_I8MM, "int8", ("smmla",)),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_the_inner_loop_multiplies_and_stores_nothing(
    profile: Profile, precision: Precision, mnemonics: tuple[str, ...], tile: str
) -> None:
    form = format_for(precision, profile, one_row=tile == "one row")
    loop = loop_of(profile, precision, 1 if tile == "one row" else form.rows, *mnemonics)
    assert loop.count(*mnemonics) >= form.columns // profile.lanes, loop
    assert loop.vector_stores == []


@pytest.mark.parametrize(
    ("profile", "mnemonics"),
    [
        (AVX2, ("vpmaddubsw",)),
        (AVX512, ("vpmaddubsw",)),
        (AVX512_VNNI, ("vpdpbusd",)),
        (NEON, ("smlal", "smlal2")),
        (NEON_DOT, ("sdot",)),
        (NEON_I8MM, ("sdot",)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_one_row_of_int4_unpacks_nibbles_in_registers(profile: Profile, mnemonics: tuple[str, ...]) -> None:
    loop = loop_of(profile, "int4", 1, *mnemonics)
    # A group of 32 inputs of all columns, four products a lane; two inputs on CPUs without dot products.
    assert loop.count(*mnemonics) >= (2 if profile is NEON else 32 // 4) * profile.columns // profile.lanes, loop
    assert loop.vector_stores == []


def test_an_activation_leaves_the_registers_to_the_sums() -> None:
    """Its constants, kept in registers through the product's loop, would push the sums onto the stack."""
    triple, cpu, _ = TARGETS[AVX2]
    target = tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu})
    gated = Product(256, 512, norm="rms", eps=1e-6, activation="gelu_tanh", gated=True)
    kernel, _ = product_kernel(AVX2, "fp32", gated, (19,))
    # Norm, quotient and polynomial have loops of multiply-adds, too: a product's loop has nothing but.
    loops = [loop for loop in inner_loops(kernel_assembly(kernel, target)) if loop.count(*X86_FMA) >= 8]
    plain = [loop for loop in loops if loop.count("vmulps", "vdivps", "vroundps") == 0]
    products = [loop for loop in plain if loop.count("vbroadcastss")]
    assert products
    assert [loop.vector_stores for loop in products if loop.vector_stores] == []


def test_i8mm_multiplies_matrices_of_two_rows_or_of_one_rows_two_bytes() -> None:
    assert loop_of(NEON_I8MM, "int8", 6, "smmla").count("smmla") >= 3 * 8
    assert loop_of(NEON_I8MM, "int8", 1, "smmla").count("smmla") >= 16
    assert loop_of(NEON_I8MM, "fp16", 3, "smmla").count("smmla") >= 3 * 2 * 4


def test_vectors_are_as_wide_as_the_profile_says() -> None:
    """512-bit registers with AVX-512, which LLVM would split by itself."""
    assert all("%zmm" in i for i in loop_of(AVX512, "fp32", 6, *X86_FMA).instructions if "fmadd" in i)
    assert any("%ymm" in i for i in loop_of(AVX2, "fp32", 6, *X86_FMA).instructions)


def test_arm_multiplies_by_lane_and_loads_in_pairs() -> None:
    """fmla vd.4s, vn.4s, vm.s[lane] needs no broadcast; ldp loads two vectors."""
    cases: tuple[tuple[Profile, Precision, str, str], ...] = (
        (NEON, "fp32", ".s[", "fmla"),
        (NEON_DOT, "int8", ".4b[", "sdot"),
        (NEON_DOT, "fp16", ".4b[", "sdot"),
    )
    for profile, precision, lane, mnemonic in cases:
        rows = format_for(precision, profile, one_row=False).rows
        loop = loop_of(profile, precision, rows, mnemonic)
        assert sum(lane in instruction for instruction in loop.instructions) == loop.count(mnemonic)
        assert loop.count("ldp") >= 1


def test_loops_and_their_stores_are_read_rightly() -> None:
    """The reader of assembly itself: an inner loop, a loop around it, and what counts as a store."""
    text = """
.LBB0_1:
\txorl %eax, %eax
.LBB0_2:                 # inner
\tvmovups (%rdi), %ymm0
\tvfmadd231ps (%rsi), %ymm0, %ymm1
\tvmovups %ymm1, 32(%rsp)
\tjne .LBB0_2
\tjne .LBB0_1
\tret
"""
    (loop,) = inner_loops(text)
    assert loop.count("vfmadd231ps") == 1
    assert loop.vector_stores == ["vmovups %ymm1, 32(%rsp)"]
    assert Loop(("stp q0, q1, [x0]", "ldp q2, q3, [x1]")).vector_stores == ["stp q0, q1, [x0]"]


SCHEDULED = {
    "steps": (schedules.elementwise((19, 64), topi.tanh), 5),
    "rows": (schedules.softmax((4, 256)), 5),
    "product": (schedules.product((), 24, 40, 64), 12),
    "convolution": (schedules.convolution((14, 14), 16, 32, 3, 1, 1, 1), 12),
}
"""A function without a template, and the multiply-adds of vectors that its main loop has at least."""
VECTOR_FMA = {AVX2: re.compile(r"^vfm\w+ps\b.*%ymm"), NEON: re.compile(r"^fmla\tv\d+\.4s")}


@pytest.mark.parametrize("name", sorted(SCHEDULED))
@pytest.mark.parametrize("profile", [AVX2, NEON], ids=lambda p: p.name)
def test_functions_without_a_template_get_vectors(profile: Profile, name: str) -> None:
    """Polynomials and products: vectors of multiply-adds, no call per element, and sums that stay in registers."""
    arithmetic.install()
    function, least = SCHEDULED[name]
    assembly = schedule_assembly(scheduled(function, profile, tvm_target_of(profile)), profile)
    found = [sum(bool(VECTOR_FMA[profile].match(i)) for i in loop.instructions) for loop in inner_loops(assembly)]
    assert max(found) >= least
    assert re.findall(r"(?:call|bl)\w*\s+\S*(?:expf|tanhf|erff)", assembly) == []
    if name in ("product", "convolution"):
        main = max(inner_loops(assembly), key=lambda loop: loop.count(*X86_FMA, *ARM_FMA))
        assert main.vector_stores == []


def test_without_a_schedule_a_product_has_no_vectors() -> None:
    """What the test above would see without ScheduleRest."""
    assembly = schedule_assembly(SCHEDULED["product"][0], AVX2)
    found = [sum(bool(VECTOR_FMA[AVX2].match(i)) for i in loop.instructions) for loop in inner_loops(assembly)]
    assert max(found) == 0


def schedule_assembly(function: tvm.tirx.PrimFunc, profile: Profile) -> str:
    with tvm.transform.PassContext(config=PASS_CONFIG):
        compiled: Any = tvm.compile(schedules.named(function), tvm_target_of(profile))
    return str(compiled.mod.inspect_source("asm"))


def tvm_target_of(profile: Profile) -> tvm.target.Target:
    triple, cpu, attributes = TARGETS[profile]
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": attributes})
