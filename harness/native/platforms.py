"""Define how a runner is built for each compile target: the Rust target, the C++ runtime, and the linker."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

from harness.core.errors import UsageError
from harness.native.compilers import HOST
from harness.native.ios.tools import ZIG_TRIPLES, Slice

Linker = Literal["host", "zig", "ndk", "apple"]


class NoRunner(UsageError):
    """This machine cannot build a runner for the target."""


@dataclass(frozen=True)
class Platform:
    """Describe a platform. ``rust`` is Rust's triple (None: this machine's), ``cxx`` the target of TVM's runtime."""

    linker: Linker
    cxx: str
    rust: str | None
    architecture: str | None
    """The binary's processor by lief's name; None means this machine's."""
    ios: Slice | None = None
    """The slice for an app on iOS: device or simulator."""


THIS_MACHINE = Platform("host", HOST, None, None)
STATIC_ARM64 = Platform("zig", "aarch64-linux-musl", "aarch64-unknown-linux-musl", "AARCH64")
STATIC_X86_64 = Platform("zig", "x86_64-linux-musl", "x86_64-unknown-linux-musl", "X86_64")
NDK_ARM64 = Platform("ndk", "aarch64-linux-android", "aarch64-linux-android", "AARCH64")
IOS_ARM64 = Platform("apple", ZIG_TRIPLES["device"], "aarch64-apple-ios", "ARM64", "device")
IOS_SIMULATOR = Platform("apple", ZIG_TRIPLES["simulator"], "aarch64-apple-ios-sim", "ARM64", "simulator")

PLATFORMS = {
    "llvm": THIS_MACHINE,
    "linux-arm64": STATIC_ARM64,
    "android-arm64": STATIC_ARM64,
    "android-arm64-ndk": NDK_ARM64,
    "android-x86_64": STATIC_X86_64,
    "ios-arm64": IOS_ARM64,
    "ios-arm64-simulator": IOS_SIMULATOR,
}


def platform_of(target: str) -> Platform:
    """Return how the runner of a compile target is built; raises NoRunner."""
    if target == "x86-64-v3":
        here = platform.system() == "Linux" and platform.machine() == "x86_64"
        return THIS_MACHINE if here else STATIC_X86_64
    try:
        return PLATFORMS[target]
    except KeyError:
        raise NoRunner(
            f"no runner is built for {target}", cure=f"choose one of {', '.join(sorted({*PLATFORMS, 'x86-64-v3'}))}"
        ) from None
