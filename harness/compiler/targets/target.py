"""Define the targets that a model can be compiled for, by the names of the command line."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.compiler.targets.cpus import CPUS, CpuBaseline, resolve_cpu
from harness.compiler.targets.profiles import Profile
from harness.core.errors import UsageError

ObjectFormat = Literal["elf", "macho"]


class UnknownTarget(UsageError):
    """``--target`` is not the name of a target."""


@dataclass(frozen=True)
class CompileTarget:
    """Describe a target. ``tvm`` is TVM's description of it, ``zig`` the triple for C files."""

    name: str
    triple: str
    baseline: CpuBaseline
    object_format: ObjectFormat
    zig: str
    note: str

    @property
    def cpu(self) -> str:
        """Return LLVM's name of the CPU."""
        return self.baseline.llvm

    @property
    def profile(self) -> Profile:
        return self.baseline.profile

    @property
    def tvm(self) -> dict[str, str | list[str]]:
        description: dict[str, str | list[str]] = {"kind": "llvm", "mtriple": self.triple, "mcpu": self.cpu}
        if self.baseline.attributes:
            description["mattr"] = list(self.baseline.attributes)
        return description


_ARM_BASELINE = "cortex-a55"
"""The little core of phones since 2018: armv8.2-a with fp16 and dot product. Older ones need ``--mcpu cortex-a53``."""

_ARM, _X86 = "aarch64-linux-gnu", "x86_64-linux-gnu"


def _target(name: str, triple: str, cpu: str, zig: str, note: str) -> CompileTarget:
    return CompileTarget(name, triple, CPUS[cpu], "macho" if "apple" in triple else "elf", zig, note)


_FIXED = (
    _target("x86-64-v3", _X86, "x86-64-v3", "x86_64-linux-musl", "Linux, AVX2 (2013 on)"),
    _target("linux-arm64", _ARM, "cortex-a72", "aarch64-linux-musl", "Linux, armv8-a"),
    _target("android-arm64", _ARM, _ARM_BASELINE, "aarch64-linux-musl", "Android, static musl executable"),
    _target(
        "android-arm64-ndk", "aarch64-linux-android", _ARM_BASELINE, "aarch64-linux-musl", "Android, through the NDK"
    ),
    _target("android-x86_64", _X86, "x86-64-v3", "x86_64-linux-musl", "Android emulators, static musl executable"),
    _target("ios-arm64", "arm64-apple-ios14.0", "apple-a12", "aarch64-ios.14.0", "iPhone, iOS 14 on"),
    _target(
        "ios-arm64-simulator",
        "arm64-apple-ios14.0-simulator",
        "apple-a12",
        "aarch64-ios.14.0-simulator",
        "iOS simulator on Apple silicon",
    ),
)

TARGET_NAMES = ("llvm", *(target.name for target in _FIXED))


def resolve_target(name: str, mcpu: str | None = None) -> CompileTarget:
    """Return the target of that name, for its own CPU or ``mcpu``; ``llvm`` is this machine.

    Raises UnknownTarget or UnknownCpu.
    """
    for target in _FIXED:
        if target.name == name:
            break
    else:
        if name != "llvm":
            raise UnknownTarget(f"unknown target {name!r}", cure=f"choose one of {', '.join(TARGET_NAMES)}")
        target = _host(mcpu)
    if mcpu is None:
        return target
    return replace(target, baseline=resolve_cpu(mcpu, target.baseline.architecture))


def _host(mcpu: str | None) -> CompileTarget:
    machine = platform.machine().lower()
    mac = platform.system() == "Darwin"
    arm = machine in ("arm64", "aarch64")
    architecture = "arm64" if mac and arm else "aarch64" if arm else "x86_64"
    triple = f"{architecture}-apple-macosx11.0" if mac else f"{architecture}-linux-gnu"
    if mcpu:
        # The code may be for a CPU that this machine lacks.
        cpu = "cortex-a72" if arm else "x86-64-v3"
    elif arm:
        cpu = "apple-m1" if mac else "cortex-a72"
    else:
        cpu = _x86_level(_cpu_flags())
    return CompileTarget("llvm", triple, CPUS[cpu], "macho" if mac else "elf", "native", "this machine's CPU")


def _x86_level(flags: frozenset[str]) -> str:
    """Return the x86-64 psABI level that the flags reach. A level, unlike a CPU's name, keeps one archive per level."""
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
        return "cascadelake" if "avx512_vnni" in flags else "x86-64-v4"
    if {"avx2", "fma", "bmi2", "f16c"} <= flags:
        return "x86-64-v3"
    raise UnknownTarget(
        "this CPU has no AVX2", cure="compile for it elsewhere with an own profile; AVX2 is the oldest supported"
    )


def _cpu_flags() -> frozenset[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()
