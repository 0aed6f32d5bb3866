"""Find the C++ compilers for TVM's runtime: this machine's own, the NDK's for bionic, zig for any other."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.cache import Cache
from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.core.installation import install_cure

HOST = "host"
NDK_VARIABLE = "ANDROID_NDK_HOME"
NDK_API_LEVEL = 24
"""Android 7, the oldest release that current NDKs (r26 on) support without special care."""
APPLE_FLAGS = ("-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=1", "-Wno-#warnings")
"""Flags for Apple's systems. Programs use the libc++ of their system, which lacks functions that zig's newer headers
call without these flags. The headers warn that they support no release before iOS 15, but they work for 14."""
VERSION_DEADLINE_SECONDS = 60.0


class ToolchainMissing(HarnessError):
    """A compiler or package that a build needs is not installed."""


@dataclass(frozen=True)
class CxxCompiler:
    """Describe a compiler. ``identity`` changes if its output may change; ``environment`` is what it needs set."""

    command: tuple[str, ...]
    identity: str
    environment: dict[str, str] = field(default_factory=dict)


def cxx_compiler(target: str, cache: Cache) -> CxxCompiler:
    """Return the compiler for ``host``, bionic (``aarch64-linux-android``), or any of zig's triples.

    Raises ToolchainMissing.
    """
    if target == HOST:
        command = host_compiler()
        return CxxCompiler(tuple(command), identity(command))
    if target.endswith("-android"):
        command = [str(ndk_tool("clang++")), f"--target={target}{NDK_API_LEVEL}"]
        return CxxCompiler(tuple(command), f"{identity(command)} for {target}{NDK_API_LEVEL}")
    command = zig_compiler(target)
    flags = " ".join(flag for flag in APPLE_FLAGS if flag in command)
    return CxxCompiler(tuple(command), f"{identity(command)} {flags}".strip(), zig_environment(cache))


def host_compiler() -> list[str]:
    """Return ``$CXX`` or the first of c++, g++ and clang++; raises ToolchainMissing."""
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if path := shutil.which(name):
            return [path]
    raise ToolchainMissing("no C++ compiler was found", cure="install one: apt install g++, or xcode-select --install")


def zig_compiler(target: str) -> list[str]:
    command = [sys.executable, "-m", "ziglang", "c++", "-target", target]
    if "ios" in target or "macos" in target:
        command += [*APPLE_FLAGS, "-isystem", str(package_folder("ziglang") / "lib/libc/include/any-darwin-any")]
    return command


def zig_environment(cache: Cache) -> dict[str, str]:
    """Return zig's environment.

    Zig keeps the libraries that it builds in our cache, so that nobody else clears them.
    """
    folder = str(cache.root / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}


def ndk_tool(name: str) -> Path:
    """Return a program of the NDK in ``ANDROID_NDK_HOME``; raises ToolchainMissing."""
    configured = os.environ.get(NDK_VARIABLE)
    if not configured:
        raise ToolchainMissing(
            f"{NDK_VARIABLE} is not set",
            cure="set it to the folder of an Android NDK, or compile for android-arm64, which needs none",
        )
    system = {"Linux": "linux-x86_64", "Darwin": "darwin-x86_64"}.get(platform.system(), "unknown")
    path = Path(configured) / "toolchains/llvm/prebuilt" / system / "bin" / name
    if not os.access(path, os.X_OK):
        raise ToolchainMissing(
            f"{NDK_VARIABLE} is {configured}, which has no {path.relative_to(configured)}",
            cure=f"set {NDK_VARIABLE} to the folder that holds the NDK's `toolchains`",
        )
    return path


def identity(compiler: list[str]) -> str:
    """Return a text that changes if the compiler's output may change."""
    if "ziglang" in compiler:
        return f"zig {importlib.metadata.version('ziglang')}"
    try:
        done = run_command([compiler[0], "--version"], deadline=VERSION_DEADLINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainMissing(f"{compiler[0]} cannot be asked for its version: {error}") from error
    return done.stdout.splitlines()[0] if done.stdout else compiler[0]


def package_folder(name: str) -> Path:
    """Return an installed package's folder without importing it; raises ToolchainMissing."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ToolchainMissing(f"the Python package {name} is not installed", cure=install_cure("compile"))
    return Path(spec.submodule_search_locations[0])
