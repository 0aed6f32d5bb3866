"""The targets a model is compiled for, by the names of the command line."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.compiler.profiles import AVX2, AVX512, AVX512_VNNI, NEON, NEON_DOT, Profile
from harness.errors import UsageError

ObjectFormat = Literal["elf", "macho"]


class UnknownTarget(UsageError):
    """``--target`` names none of the known targets."""


@dataclass(frozen=True)
class CompileTarget:
    """``tvm`` is TVM's target description, ``zig`` the C++ triple that its runtime is built with."""

    name: str
    triple: str
    cpu: str
    profile: Profile
    object_format: ObjectFormat
    zig: str
    note: str

    @property
    def tvm(self) -> dict[str, str | list[str]]:
        description: dict[str, str | list[str]] = {"kind": "llvm", "mtriple": self.triple, "mcpu": self.cpu}
        if self.profile in (AVX512, AVX512_VNNI):
            # The level's default would split every 512-bit vector.
            vnni = ["+avx512vnni"] if self.profile is AVX512_VNNI else []
            description["mattr"] = ["-prefer-256-bit", *vnni]
        return description


_ARM_BASELINE = "cortex-a55"
"""The little core of phones since 2018: armv8.2-a with fp16 and dot product."""

_FIXED = (
    CompileTarget(
        "x86-64-v3", "x86_64-linux-gnu", "x86-64-v3", AVX2, "elf", "x86_64-linux-musl", "Linux, AVX2 (2013 on)"
    ),
    CompileTarget(
        "linux-arm64", "aarch64-linux-gnu", "cortex-a72", NEON, "elf", "aarch64-linux-musl", "Linux, armv8-a"
    ),
    CompileTarget(
        "android-arm64",
        "aarch64-linux-gnu",
        _ARM_BASELINE,
        NEON_DOT,
        "elf",
        "aarch64-linux-musl",
        "Android, static musl executable",
    ),
    CompileTarget(
        "ios-arm64", "arm64-apple-ios14.0", "apple-a12", NEON, "macho", "aarch64-ios.14.0", "iPhone, iOS 14 on"
    ),
    CompileTarget(
        "ios-arm64-simulator",
        "arm64-apple-ios14.0-simulator",
        "apple-a12",
        NEON,
        "macho",
        "aarch64-ios.14.0-simulator",
        "iOS simulator on Apple silicon",
    ),
)

TARGET_NAMES = ("llvm", *(target.name for target in _FIXED))


def resolve_target(name: str) -> CompileTarget:
    """The target of that name; ``llvm`` is this machine's CPU. Raises UnknownTarget."""
    if name == "llvm":
        return _host()
    for target in _FIXED:
        if target.name == name:
            return target
    raise UnknownTarget(f"unknown target {name!r}", cure=f"choose one of {', '.join(TARGET_NAMES)}")


def _host() -> CompileTarget:
    machine = platform.machine().lower()
    mac = platform.system() == "Darwin"
    arm = machine in ("arm64", "aarch64")
    architecture = "arm64" if mac and arm else "aarch64" if arm else "x86_64"
    triple = f"{architecture}-apple-macosx11.0" if mac else f"{architecture}-linux-gnu"
    if arm:
        cpu, profile = ("apple-m1" if mac else "cortex-a72"), NEON
    else:
        cpu, profile = _x86_level(_cpu_flags())
    return CompileTarget("llvm", triple, cpu, profile, "macho" if mac else "elf", "native", "this machine's CPU")


def _x86_level(flags: frozenset[str]) -> tuple[str, Profile]:
    """The x86-64 psABI level the flags reach; a level rather than a model name keeps one archive per level."""
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
        return "x86-64-v4", AVX512_VNNI if "avx512_vnni" in flags else AVX512
    if {"avx2", "fma", "bmi2", "f16c"} <= flags:
        return "x86-64-v3", AVX2
    raise UnknownTarget(
        "this CPU has no AVX2", cure="compile for it elsewhere with an own profile; AVX2 is the oldest supported"
    )


def _cpu_flags() -> frozenset[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()
