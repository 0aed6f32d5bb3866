"""Read the inner loops of a compiled kernel from its assembly, for tests and for ``llvm-mca``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import tvm

from harness.compiler.kernels.kernel import Kernel
from harness.compiler.lower import compile_kernel

_LABEL = re.compile(r"^(\.?L\w+):")
_BRANCH = re.compile(r"^(?:j\w+|b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.?L\w+)")
_X86_STORE = re.compile(r"^vmov\w+\s+%[xyz]mm\d+,\s*[^%]*\(")
_ARM_STORE = re.compile(r"^(?:st[rp]\s+q|st1\s)")


@dataclass(frozen=True)
class Loop:
    """A loop without loops inside: its instructions, in order, without directives and comments."""

    instructions: tuple[str, ...]

    @property
    def mnemonics(self) -> list[str]:
        return [instruction.split()[0] for instruction in self.instructions]

    def count(self, *mnemonics: str) -> int:
        return sum(mnemonic in mnemonics for mnemonic in self.mnemonics)

    @property
    def vector_stores(self) -> list[str]:
        return [i for i in self.instructions if _X86_STORE.match(i) or _ARM_STORE.match(i)]


def kernel_assembly(kernel: Kernel, target: tvm.target.Target) -> str:
    """Return the assembly that LLVM writes for the kernel on that target."""
    module: Any = compile_kernel(kernel, target)
    return str(module.mod.inspect_source("asm"))


def inner_loops(assembly: str) -> list[Loop]:
    """Return every stretch from a label to a branch back to it, with no other label's loop inside."""
    lines = [re.split(r"\s*(?:#|//|;)\s", line.strip(), maxsplit=1)[0].strip() for line in assembly.splitlines()]
    starts: dict[str, int] = {}
    loops: list[Loop] = []
    last_end = -1
    for at, line in enumerate(lines):
        label = _LABEL.match(line)
        if label:
            starts[label.group(1)] = at
            continue
        branch = _BRANCH.match(line)
        if branch is None or branch.group(1) not in starts:
            continue
        start = starts[branch.group(1)]
        if start > last_end:
            body = [text for text in lines[start : at + 1] if text and not text.startswith(".") and ":" not in text]
            loops.append(Loop(tuple(body)))
        last_end = max(last_end, at)
    return loops


def main_loop(kernel: Kernel, target: tvm.target.Target, *mnemonics: str) -> Loop:
    """Return the inner loop with the most of these instructions."""
    loops = inner_loops(kernel_assembly(kernel, target))
    return max(loops, key=lambda loop: loop.count(*mnemonics), default=Loop(()))
