"""Find LLVM's linker for Apple's object format: this machine's, or Debian's in the cache."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from harness.core.cache import Cache, content_key
from harness.core.commands import run_command
from harness.core.debian import OS_RELEASE, DebianPackages, PackagesUnavailable, read_codename, unpack
from harness.core.progress import Progress
from harness.native.compilers import VERSION_DEADLINE_SECONDS, ToolchainMissing

NAME = "ld64.lld"
PACKAGE = "lld-19"
"""The newest version in the main part of the oldest supported Debian."""
MACHINES_OWN = frozenset({"libc6", "libgcc-s1", "gcc-12-base", "libstdc++6"})
"""Libraries that come with any C++ compiler; a process cannot mix two versions of them."""
CURE = "on a Mac install Xcode (or `brew install lld`); on Debian `apt install lld-19`"


def find_lld(cache: Cache, progress: Progress) -> Path:
    """Return ``ld64.lld`` of the PATH, else Debian's; raises ToolchainMissing."""
    return _on_path() or debian_lld(cache, progress)


def debian_lld(cache: Cache, progress: Progress) -> Path:
    """Return Debian's ``ld64.lld``, fetched into the cache if needed; nothing is installed. Raises ToolchainMissing."""
    try:
        return cache.fetch("lld", _key(), lambda folder: _provide(cache, folder, progress)) / "bin" / NAME
    except PackagesUnavailable as error:
        raise ToolchainMissing(f"{NAME} is not available: {Exception.__str__(error)}", cure=CURE) from error


def present_lld(cache: Cache) -> Path | None:
    """Return a linker that needs no fetching, if there is one; it is not verified."""
    if here := _on_path():
        return here
    try:
        path = cache.root / "lld" / _key() / "bin" / NAME
    except PackagesUnavailable:
        return None
    return path if path.is_file() else None


def _on_path() -> Path | None:
    for name in (NAME, f"{NAME}-{PACKAGE.removeprefix('lld-')}"):
        if path := shutil.which(name):
            return Path(path)
    return None


def lld_version(linker: Path) -> str:
    """Return the linker's own version line; raises ToolchainMissing."""
    try:
        done = run_command([str(linker), "--version"], deadline=VERSION_DEADLINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainMissing(f"{linker} cannot be asked for its version: {error}", cure=CURE) from error
    if done.returncode != 0 or "LLD" not in done.stdout:
        raise ToolchainMissing(f"{linker} is not LLVM's linker: {(done.stderr or done.stdout).strip()}", cure=CURE)
    return done.stdout.strip()


def _key() -> str:
    return content_key({"package": PACKAGE, "release": read_codename(OS_RELEASE), "machine": platform.machine()})


def _provide(cache: Cache, folder: Path, progress: Progress) -> None:
    """Put the program and its libraries side by side, where its own run path ($ORIGIN/../lib) finds them."""
    debs = DebianPackages(cache.root / "debian", progress=progress).fetch([PACKAGE], with_dependencies=True)
    root = folder / "unpacked"
    unpack([path for path in debs if path.name.split("_")[0] not in MACHINES_OWN], root)
    program = next(root.glob(f"usr/lib/llvm-*/bin/{NAME}"), None)
    if program is None:
        raise ToolchainMissing(f"Debian's {PACKAGE} holds no {NAME}", cure=CURE)
    for name in ("bin", "lib"):
        (folder / name).mkdir()
    shutil.copy2(program, folder / "bin" / NAME)
    multiarch = f"{platform.machine()}-linux-gnu"
    for place in (f"lib/{multiarch}", f"usr/lib/{multiarch}"):
        for path in (root / place).glob("*.so.*"):
            copy = folder / "lib" / path.name
            if path.is_symlink():
                copy.symlink_to(path.readlink().name)
            else:
                shutil.copyfile(path, copy)
    shutil.rmtree(root)
