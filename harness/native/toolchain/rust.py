"""Describe one Rust toolchain for builds: programs, environment, and the standard library of a target."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.commands import run_command
from harness.native.compilers import ToolchainMissing

OLDEST_RUST = (1, 88)
"""The same as Cargo.toml's rust-version; a test compares the two."""
RUST_CURE = f"install Rust {OLDEST_RUST[0]}.{OLDEST_RUST[1]} or newer with rustup"
UPDATE_CURE = "rustup update stable; or put a newer cargo and rustc first on the PATH"
QUERY_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class RustToolchain:
    """Describe a toolchain.

    ``route`` is its origin. ``version`` is rustc's own line, with everything else that distinguishes builds.
    """

    route: str
    cargo: Path
    rustc: Path
    version: str
    environment: dict[str, str] = field(default_factory=dict)
    """The environment that its programs need."""
    sysroot: Path | None = None
    """The folder of the target's standard library, if it is not with the compiler."""

    @property
    def name(self) -> str:
        """Return a folder's name, because compilers of different versions must not share cargo's output."""
        return re.sub(r"[^\w.]+", "-", self.version).strip("-")


def host_toolchain() -> RustToolchain:
    """Return cargo and rustc of the PATH, for this machine; raises ToolchainMissing, also if they are too old."""
    found = {}
    for tool in ("cargo", "rustc"):
        path = shutil.which(tool)
        if path is None:
            raise ToolchainMissing(f"{tool} was not found", cure=RUST_CURE)
        found[tool] = Path(path)
    version = _ask(found["rustc"], "--version")
    if is_too_old(version):
        raise ToolchainMissing(
            f"{version} in {found['rustc']} is too old: the runner needs {OLDEST_RUST[0]}.{OLDEST_RUST[1]}",
            cure=UPDATE_CURE,
        )
    return RustToolchain("PATH", found["cargo"], found["rustc"], version)


def is_too_old(version: str) -> bool:
    """Return whether rustc's or cargo's line names a release that is known to be too old."""
    found = re.match(r"(?:rustc|cargo) (\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < OLDEST_RUST


def has_standard_library(toolchain: RustToolchain, triple: str) -> bool:
    """Return whether the compiler has the target's standard library."""
    folder = _ask(toolchain.rustc, "--print", "target-libdir", "--target", triple)
    return any(Path(folder).glob("libstd-*.rlib"))


def _ask(rustc: Path, *arguments: str) -> str:
    try:
        done = run_command([str(rustc), *arguments], deadline=QUERY_DEADLINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainMissing(f"rustc does not answer: {error}", cure=RUST_CURE) from error
    if done.returncode != 0:
        raise ToolchainMissing(f"rustc does not answer: {done.stderr.strip()[-500:]}", cure=RUST_CURE)
    return done.stdout.strip()
