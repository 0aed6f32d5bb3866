"""Check what an installation needs, and name the one command that installs each missing part."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys

from harness.core.cache import Cache
from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.core.installation import harness_folder, install_cure, providers
from harness.devices.kinds import Check, Options, device_kinds
from harness.native.compilers import NDK_VARIABLE, ToolchainMissing, host_compiler, identity, ndk_tool
from harness.native.ios import lld
from harness.native.ios.tools import present_tools
from harness.native.platforms import platform_of
from harness.native.toolchain import configured_route, present_toolchain
from harness.native.toolchain.rust import RUST_CURE, UPDATE_CURE, is_too_old

OLDEST_PYTHON = (3, 10)
COMPILE_PACKAGES = ("torch", "transformers", "apache-tvm", "apache-tvm-ffi", "ziglang", "cargo-zigbuild")
PHONE_TARGETS = ("android-arm64", "ios-arm64")


def check_installation(cache: Cache, given: Options) -> list[Check]:
    """Return the checks, in the order in which a new user would mend the faults.

    ``given`` are the values of the options of kinds of devices.
    """
    return [
        _python(),
        _own_package(),
        *(_package(name) for name in COMPILE_PACKAGES),
        _compiler(),
        _tool("cargo"),
        _tool("rustc"),
        *(_phone_rust(cache, target) for target in PHONE_TARGETS),
        _ndk(),
        _apple(cache),
        *(check for kind in device_kinds().values() for check in kind.checks(kind.chosen(given))),
        _cache(cache),
    ]


def _python() -> Check:
    ok = sys.version_info >= OLDEST_PYTHON
    return Check("Python", ok, platform.python_version(), "install Python 3.10 or newer")


def _package(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name), "")
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", install_cure("compile"))


def _own_package() -> Check:
    """Check the harness itself: if it is installed twice, the files of one hide or replace those of the other."""
    found = providers()
    names = " ".join(sorted({one.name for one in found}))
    cure = f"pip uninstall {names}, again until none is left; then {install_cure()}"
    if len(found) > 1:
        others = "; ".join(one.describe() for one in found)
        return Check("harness", False, f"{len(found)} packages bring `harness`: {others}", cure)
    if not found:
        return Check("harness", True, f"{harness_folder()}, not installed as a package", cure)
    return Check("harness", True, f"{found[0].name} {found[0].version} in {harness_folder()}", cure)


def _compiler() -> Check:
    cure = "apt install g++ (Debian), xcode-select --install (macOS)"
    try:
        return Check("C++ compiler", True, identity(host_compiler()), cure)
    except ToolchainMissing as error:
        return Check("C++ compiler", False, Exception.__str__(error), cure)


def _tool(name: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, "not found", RUST_CURE)
    done = run_command([path, "--version"], deadline=60)
    version = (done.stdout or done.stderr).strip()
    if is_too_old(version):
        return Check(name, False, f"{version} is too old", UPDATE_CURE)
    return Check(name, done.returncode == 0, version, UPDATE_CURE)


def _phone_rust(cache: Cache, target: str) -> Check:
    name, cure = f"Rust for {target}", f"harness toolchain install {target}"
    triple = platform_of(target).rust
    try:
        found = present_toolchain(triple, cache, configured_route())
    except HarnessError as error:
        return Check(name, False, Exception.__str__(error), error.cure)
    if found:
        return Check(name, True, f"{found.version} ({found.route})", cure)
    tools = [tool for tool in ("rustup", "apt-get") if shutil.which(tool)]
    if tools:
        return Check(name, True, f"not there yet; {' or '.join(tools)} brings it when it is needed", cure)
    return Check(name, False, "neither rustup nor apt-get was found", "install Rust with rustup")


def _ndk() -> Check:
    name, cure = "Android NDK", f"unset {NDK_VARIABLE}, or set it to an NDK's folder"
    if not os.environ.get(NDK_VARIABLE):
        return Check(name, True, f"{NDK_VARIABLE} is not set; only android-arm64-ndk needs it", cure)
    try:
        return Check(name, True, identity([str(ndk_tool("clang++"))]), cure)
    except ToolchainMissing as error:
        return Check(name, False, Exception.__str__(error), cure)


def _apple(cache: Cache) -> Check:
    name, cure = "linker for iOS", lld.CURE
    try:
        found = present_tools("device", cache)
    except ToolchainMissing as error:
        return Check(name, False, Exception.__str__(error), error.cure)
    if found:
        return Check(name, True, found, cure)
    if shutil.which("apt-get"):
        return Check(name, True, "not there yet; apt-get brings it when it is needed", cure)
    return Check(name, False, f"neither Xcode, {lld.NAME} nor apt-get was found", cure)


def _cache(cache: Cache) -> Check:
    root = cache.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free / (1 << 30)
    except OSError as error:
        return Check("cache", False, f"{root}: {error.strerror}", "set HARNESS_CACHE_DIR to a folder you can write to")
    cure = "free some space, or set HARNESS_CACHE_DIR to another disk"
    return Check("cache", free > 2, f"{root}, {len(cache.entries())} entries, {free:.0f} GiB free", cure)
