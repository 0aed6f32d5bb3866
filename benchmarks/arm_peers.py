"""Read the inner loops of other libraries' arm64 kernels, from a checkout that the user fetched.

The loops are read as text and handed to ``llvm-mca``; nothing of the checkout is compiled, run or kept. So kernels that
are written in assembly (``.S``) are read, and those written in C with intrinsics are not.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.assembly import Loop, inner_loops
from harness.core.errors import HarnessError, UsageError
from harness.protocol.schema import Precision

_ELEMENTS = {"2s": 2, "4s": 4, "4h": 4, "8h": 8}
_PRODUCTS = {
    "fmla": 1,
    "fmlal": 1,
    "fmlal2": 1,
    "smlal": 1,
    "smlal2": 1,
    "smull": 1,
    "smull2": 1,
    "mla": 1,
    "bfdot": 2,
    "sdot": 4,
    "bfmmla": 4,
    "smmla": 8,
}
"""Multiply-adds for each element of the destination."""
_DESTINATION = re.compile(r"^(\w+)\s+(v\d+)\.(\w+)")
_KLEIDI_LABEL = re.compile(r"^kai_asm_label\((\w+)\)")
_KLEIDI_WORD = re.compile(r"^kai_asm_inst\((0x[0-9a-f]{8})\)")
_LABEL = re.compile(r"^\.?(\w+):")
_BRANCH = re.compile(r"^b\.?(eq|ne|hs|cs|lo|cc|hi|ls|ge|lt|gt|le|mi|pl|al)\s+\.?(\w+?)(b?)$")
_SHAPE = re.compile(r"(?:_|gemm-)(\d+)x(\d+)(?:[xc]\d+)*[_-](?:minmax|neon)")


class NoPeers(UsageError):
    """A folder is no checkout of a library whose kernels can be read."""

    cure = "give checkouts of KleidiAI (kai/ukernels) and XNNPACK (src/f32-gemm), each fetched with git"


class DisassemblerMissing(HarnessError):
    """``llvm-mc`` is not installed. KleidiAI writes some instructions as numbers, which it decodes."""

    cure = "install LLVM's tools: apt-get install llvm-19 (or llvm)"


@dataclass(frozen=True)
class Family:
    """Name the kernels of one library that multiply in one precision."""

    library: str
    precision: Precision
    pattern: str


_KLEIDI, _XNN = "kai/ukernels/matmul/matmul_clamp_", "src/"
FAMILIES = (
    Family("KleidiAI", "fp32", f"{_KLEIDI}f32_f32_f32p/*_neon_*_asm.S"),
    Family("KleidiAI", "fp16", f"{_KLEIDI}f16_f16_f16p/*_neon_*_asm.S"),
    # Those with float16 results are written in assembly where some with float32 results are C; the loops are the same.
    Family("KleidiAI", "int8", f"{_KLEIDI}f*_qai8dxp_qsi8cxp/*_neon_*_asm.S"),
    Family("XNNPACK", "fp32", f"{_XNN}f32-gemm/gen/*-asm-aarch64-*.S"),
    Family("XNNPACK", "fp16", f"{_XNN}f16-gemm/gen/*-asm-aarch64-*.S"),
    Family("XNNPACK", "int8", f"{_XNN}qd8-f32-qc8w-gemm/gen/*-asm-aarch64-*.S"),
)


@dataclass(frozen=True)
class PeerKernel:
    """Hold the main loop of one kernel for each number of rows that it has a loop for."""

    library: str
    precision: Precision
    name: str
    loops: dict[int, Loop]


def multiply_adds(instruction: str) -> int:
    """Return how many multiply-adds one instruction does: ``fmla v0.8h`` does 8. 0 if it does not multiply."""
    found = _DESTINATION.match(instruction)
    return 0 if found is None else _PRODUCTS.get(found[1], 0) * _ELEMENTS.get(found[3], 0)


def read_peers(folders: list[Path], llvm_mc: str | None = None) -> list[PeerKernel]:
    """Return the kernels of these checkouts. Raises NoPeers for a folder with none, and DisassemblerMissing."""
    found: list[PeerKernel] = []
    for folder in folders:
        mine = list(_kernels(folder, llvm_mc))
        if not mine:
            raise NoPeers(f"no kernels of KleidiAI or XNNPACK were found in {folder}")
        found += mine
    return found


def _kernels(folder: Path, llvm_mc: str | None) -> Iterator[PeerKernel]:
    for family in FAMILIES:
        for path in sorted(folder.glob(family.pattern)):
            shape = _SHAPE.search(path.name)
            if shape is None:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            loops = main_loops(text, int(shape[1]), int(shape[2]), llvm_mc)
            if loops:
                yield PeerKernel(family.library, family.precision, path.stem, loops)


def main_loops(text: str, rows: int, columns: int, llvm_mc: str | None = None) -> dict[int, Loop]:
    """Return, by its rows, the loop with the most multiply-adds, of a kernel of at most ``rows`` x ``columns``.

    How many rows a loop multiplies is read from the sums it adds to. A loop with several sums for each result has more
    of them than the kernel has results, and is one of ``rows`` rows.
    """
    best: dict[int, tuple[int, Loop]] = {}
    for loop in inner_loops("\n".join(_plain(text, llvm_mc))):
        sums = {(m[2], m[3]) for i in loop.instructions if multiply_adds(i) and (m := _DESTINATION.match(i))}
        height = min(rows, sum(_ELEMENTS[arrangement] for _, arrangement in sums) // columns)
        done = sum(map(multiply_adds, loop.instructions))
        if height and done > best.get(height, (0, loop))[0]:
            best[height] = (done, loop)
    return {height: loop for height, (_, loop) in sorted(best.items())}


def _plain(text: str, llvm_mc: str | None) -> Iterator[str]:
    """Yield the lines as ``inner_loops`` reads them: labels of one form, macros replaced, no preprocessor."""
    lines = [line.strip().lower() for line in text.splitlines()]
    words = sorted({found[1] for line in lines if (found := _KLEIDI_WORD.match(line))})
    decoded = dict(zip(words, _decode(words, llvm_mc), strict=True))
    for line in lines:
        if line.startswith("#"):
            continue
        if word := _KLEIDI_WORD.match(line):
            yield decoded[word[1]]
        elif label := _KLEIDI_LABEL.match(line) or _LABEL.match(line):
            yield f".L{label[1]}:"
        else:
            code = line.partition("//")[0].strip()
            branch = _BRANCH.match(code)
            yield code if branch is None else f"b.{branch[1]} .L{branch[2]}"


def _decode(words: list[str], llvm_mc: str | None) -> list[str]:
    """Return the instructions that these 32-bit words stand for."""
    if not words:
        return []
    tool = llvm_mc or shutil.which("llvm-mc-19") or shutil.which("llvm-mc")
    if tool is None:
        raise DisassemblerMissing("llvm-mc was not found")
    raw = "\n".join(" ".join(f"0x{byte:02x}" for byte in int(word, 16).to_bytes(4, "little")) for word in words)
    options = ["--disassemble", "--triple=aarch64", "--mattr=+dotprod,+i8mm,+fullfp16,+fp16fml,+bf16"]
    done = subprocess.run(
        [tool, *options], input=raw, capture_output=True, text=True, timeout=60, check=False, encoding="utf-8"
    )
    found = [line.strip().replace("\t", " ") for line in done.stdout.splitlines() if not line.strip().startswith(".")]
    found = [line for line in found if line]
    if done.returncode != 0 or len(found) != len(words):
        raise DisassemblerMissing(f"llvm-mc decoded {len(found)} of {len(words)} instructions: {done.stderr.strip()}")
    return found
