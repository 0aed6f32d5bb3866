"""Define the CPUs that a model can be compiled for, by the names of ``--mcpu``, and the features that a device needs.

LLVM may use every instruction of a CPU, so the device must have them all. ``features`` are those that compiled code can
contain, by the names of ``rust/g2p_tvm/src/cpu.rs``. Tests compare the table with LLVM's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.compiler.targets.profiles import (
    AVX2,
    AVX512,
    AVX512_VNNI,
    NEON,
    NEON_DOT,
    NEON_I8MM,
    Profile,
)
from harness.core.errors import UsageError

Architecture = Literal["aarch64", "x86_64"]


class UnknownCpu(UsageError):
    """``--mcpu`` is not the name of a CPU of the target's architecture with a kernel profile."""


@dataclass(frozen=True)
class CpuBaseline:
    """Describe one CPU. ``llvm`` and ``attributes`` are passed to LLVM; ``features`` must be present on the device."""

    name: str
    architecture: Architecture
    profile: Profile
    features: tuple[str, ...]
    llvm: str
    attributes: tuple[str, ...] = ()


_ARMV8 = ("neon",)
_ARMV8_2 = ("neon", "fp16", "dotprod", "rdm", "rcpc", "lse")
_ARMV9 = ("neon", "fp16", "dotprod", "i8mm", "bf16", "fhm", "fcma", "rdm", "rcpc", "lse")
_A12 = ("neon", "fp16", "fcma", "rdm", "rcpc", "lse")
_A13 = ("neon", "fp16", "dotprod", "fhm", "fcma", "rdm", "rcpc", "lse")
_X86_V3 = ("sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "lzcnt", "movbe")
_X86_V4 = (*_X86_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


def _arm(name: str, profile: Profile, features: tuple[str, ...]) -> CpuBaseline:
    return CpuBaseline(name, "aarch64", profile, features, name)


def _armv9(name: str) -> CpuBaseline:
    # Many phones with these cores forbid SVE to programs (Snapdragon 8 Gen 1 to 3), so LLVM must not use it.
    return CpuBaseline(name, "aarch64", NEON_I8MM, _ARMV9, name, ("-sve",))


CPUS = {
    cpu.name: cpu
    for cpu in (
        *(_arm(name, NEON, _ARMV8) for name in ("cortex-a53", "cortex-a72", "cortex-a73")),
        *(
            _arm(name, NEON_DOT, _ARMV8_2)
            for name in ("cortex-a55", "cortex-a76", "cortex-a77", "cortex-a78", "cortex-x1", "neoverse-n1")
        ),
        *(_armv9(name) for name in ("cortex-a510", "cortex-a710", "cortex-a715", "cortex-a720", "cortex-x4")),
        _arm("apple-a12", NEON, _A12),
        *(_arm(name, NEON_DOT, _A13) for name in ("apple-a13", "apple-a14", "apple-m1")),
        _arm("apple-a15", NEON_I8MM, _ARMV9),
        CpuBaseline("x86-64-v3", "x86_64", AVX2, _X86_V3, "x86-64-v3"),
        # The level's default would split every 512-bit vector.
        CpuBaseline("x86-64-v4", "x86_64", AVX512, _X86_V4, "x86-64-v4", ("-prefer-256-bit",)),
        CpuBaseline(
            "cascadelake",
            "x86_64",
            AVX512_VNNI,
            (*_X86_V4, "avx512vnni"),
            "x86-64-v4",
            ("-prefer-256-bit", "+avx512vnni"),
        ),
    )
}


def cpu_names(architecture: Architecture) -> list[str]:
    return [cpu.name for cpu in CPUS.values() if cpu.architecture == architecture]


def resolve_cpu(name: str, architecture: Architecture) -> CpuBaseline:
    """Return the CPU of that name. Raises UnknownCpu, also for one of another architecture."""
    cpu = CPUS.get(name)
    if cpu is None or cpu.architecture != architecture:
        known = ", ".join(cpu_names(architecture))
        raise UnknownCpu(f"unknown --mcpu {name!r} for {architecture}", cure=f"choose one of {known}")
    return cpu
