"""Kernels of other libraries: read from checkouts in the forms that they use, and compared under one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.arm_compare import Playing
from benchmarks.arm_mca import main
from benchmarks.arm_peers import NoPeers, PeerKernel, main_loops, multiply_adds, read_peers
from benchmarks.assembly import Loop
from benchmarks.mca import estimate, find_mca, least_cycles
from harness.core.errors import ExitCode
from tests.benchmarks.test_arm_mca import command

pytestmark = pytest.mark.compiler

XNNPACK = """
#include "src/xnnpack/assembly.h"
BEGIN_FUNCTION of_two_rows
        # a comment
1:
        LDP         q4, q5, [x5], 32    // weights
        FMLA        v16.4s, v4.4s,  v0.s[0]
        FMLA        v17.4s, v5.4s,  v0.s[0]
        FMLA        v18.4s, v4.4s,  v1.s[0]
        FMLA        v19.4s, v5.4s,  v1.s[0]
        SUBS        x0, x0, 4
        B.HS        1b
        TBZ         x0, 2, 3f
3:
        FMLA        v16.4s, v4.4s,  v0.s[0]
        RET
.Linner_loop:
        FMLA        v16.2s, v4.2s,  v0.s[0]
        bne .Linner_loop
"""
KLEIDI = """
    #define KAI_ASM_INST(hex) .inst hex
KAI_ASM_FUNCTION_LABEL(kernel)
KAI_ASM_LABEL(label_1)  // four rows
    ldr q16, [x24, #0x0]
    KAI_ASM_INST(0x4f98e219)  // sdot v25.4s, v16.16b, v24.4b[0]
    KAI_ASM_INST(0x4fb8e21a)
    KAI_ASM_INST(0x4f98e21b)
    KAI_ASM_INST(0x4f98e21c)
    bgt label_1
KAI_ASM_LABEL(label_2)  // one row
    KAI_ASM_INST(0x4f98e219)
    KAI_ASM_INST(0x4f98e219)
    bgt label_2
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one kernel of each library."""
    for path, text in (
        ("src/f32-gemm/gen/f32-gemm-2x8-minmax-asm-aarch64-neonfma-ld64.S", XNNPACK),
        ("kai/ukernels/matmul/matmul_clamp_f32_qai8dxp_qsi8cxp/kai_a1x4_b4x4_4x4_neon_dotprod_asm.S", KLEIDI),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_loops_are_read_in_both_libraries_forms(checkout: Path) -> None:
    kleidi, xnnpack = read_peers([checkout])
    assert (kleidi.library, kleidi.precision, sorted(kleidi.loops)) == ("KleidiAI", "int8", [1, 4])
    assert kleidi.loops[4].instructions[1] == "sdot v25.4s, v16.16b, v24.4b[0]"
    assert kleidi.loops[4].instructions[2] == "sdot v26.4s, v16.16b, v24.4b[1]"
    assert kleidi.loops[1].count("sdot") == 2
    assert (xnnpack.library, xnnpack.precision, sorted(xnnpack.loops)) == ("XNNPACK", "fp32", [2])
    assert xnnpack.loops[2].instructions[0] == "ldp         q4, q5, [x5], 32"
    assert xnnpack.loops[2].count("fmla") == 4


def test_several_sums_for_one_result_are_no_more_rows() -> None:
    twice = XNNPACK.replace("v18.4s, v4.4s,  v1", "v18.4s, v4.4s,  v0").replace(
        "v19.4s, v5.4s,  v1", "v19.4s, v5.4s,  v0"
    )
    assert sorted(main_loops(twice, 1, 8)) == [1]


@pytest.mark.parametrize(
    ("instruction", "count"),
    [
        ("fmla v0.4s, v1.4s, v2.s[0]", 4),
        ("fmla v0.2s, v1.2s, v2.s[0]", 2),
        ("fmla v0.8h, v1.8h, v2.h[0]", 8),
        ("fmlal2 v0.4s, v1.4h, v2.h[0]", 4),
        ("sdot v0.4s, v1.16b, v2.4b[0]", 16),
        ("smmla v0.4s, v1.16b, v2.16b", 32),
        ("fadd v0.4s, v1.4s, v2.4s", 0),
        ("ldr q0, [x0]", 0),
    ],
)
def test_multiply_adds_of_an_instruction(instruction: str, count: int) -> None:
    assert multiply_adds(instruction) == count


def test_the_limit_is_of_multiplies_that_do_not_wait() -> None:
    """Two pipes of four lanes in the model of neoverse-n1, whether a loop has one sum or many."""
    mca = find_mca()
    assert least_cycles(mca, "neoverse-n1", ("fmla v1.4s, v2.4s, v3.s[0]",) * 4) == pytest.approx(2, rel=0.05)
    assert least_cycles(mca, "neoverse-n1", ("fmla v1.8h, v2.8h, v3.h[0]",)) == pytest.approx(0.5, rel=0.05)


@pytest.mark.thorough
def test_the_command_compares_all_under_one_model(checkout: Path, tmp_path: Path) -> None:
    done = command("--peers", str(checkout), "--quick", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was measured" in done.stdout
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["refused"] == []
    rates = {(line["precision"], line["rows"], line["library"]): line["rate"] for line in document["comparison"]}
    assert {library for _, _, library in rates} == {"ours", "KleidiAI", "XNNPACK"}
    assert {(precision, rows) for precision, rows, name in rates if name == "ours"} == {
        (precision, rows) for precision in ("fp32", "fp16", "int8") for rows in (1, 6, 16)
    }
    for line in document["comparison"]:
        assert 0 < line["rate"] <= line["limit"] * 1.05, line
    # Two rows are computed for one, so half of the work counts; six rows are three times two.
    assert rates["fp32", 6, "XNNPACK"] == pytest.approx(2 * rates["fp32", 1, "XNNPACK"])
    assert rates["fp32", 16, "XNNPACK"] == pytest.approx(rates["fp32", 6, "XNNPACK"])


def test_what_the_model_refuses_is_listed_and_what_a_core_lacks_is_not_played() -> None:
    mca = find_mca()
    playing = Playing(lambda *case: estimate(mca, *case))
    wrong = PeerKernel("XNNPACK", "fp32", "wrong", {1: Loop(("fmla v0.4s, v1.4s, v2.s[0]", "frobnicate x0"))})
    assert playing("neoverse-n1", wrong) == {}
    assert [text.partition(":")[0] for text in playing.refused] == ["neoverse-n1, wrong"]
    matrices = PeerKernel("KleidiAI", "int8", "matrices", {1: Loop(("smmla v0.4s, v1.16b, v2.16b",))})
    assert playing("neoverse-n1", matrices) == {}
    assert playing("neoverse-v2", matrices) != {}


def test_a_folder_without_kernels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoPeers, match="no kernels"):
        read_peers([tmp_path])
    with pytest.raises(SystemExit) as stopped:
        main(folders=[tmp_path], peers=False)
    assert stopped.value.code == ExitCode.USAGE
