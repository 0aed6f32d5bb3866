"""The device runner with its models linked in: one cargo build per archive, cached."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.cache import Cache, content_key, hash_file, hash_sources
from harness.compiler.front import Archive
from harness.errors import HarnessError
from harness.native.inspection import check_registrations
from harness.native.runtime import RuntimeLibs, ToolchainMissing, build_runtime, package_folder

BINARY = "device_runner"
RUST_CURE = "install Rust with rustup; the README names the versions that work"

Progress = Callable[[str], None]


class RunnerBuildFailed(HarnessError):
    """cargo could not build the runner."""

    cure = "cargo's message is above; `harness doctor` checks the toolchain"


@dataclass(frozen=True)
class Runner:
    """An executable that holds an archive's models."""

    path: Path
    archive: Archive
    sha256: str
    size: int


def workspace_root() -> Path:
    """The checkout that holds the Rust workspace; raises ToolchainMissing for an installation without one."""
    root = Path(os.environ.get("HARNESS_RUST_WORKSPACE", Path(harness.__file__).parent.parent))
    if not (root / "device_runner/Cargo.toml").is_file():
        raise ToolchainMissing(
            f"{root} does not hold the Rust workspace",
            cure="install the harness from a checkout (pip install -e .), or set HARNESS_RUST_WORKSPACE to one",
        )
    return root


def link_variables(archive: Path, prefix: str, runtime: RuntimeLibs) -> dict[str, str]:
    """The ``G2P_TVM_*`` variables that link an archive and our runtime statically (see docs/rust.md)."""
    return {
        "G2P_TVM_SYSTEM_LIB": str(archive),
        "G2P_TVM_SYSTEM_LIB_PREFIX": prefix,
        "G2P_TVM_RUNTIME_LIB": str(runtime.runtime),
        "G2P_TVM_STATIC_LINK": "1",
        "G2P_TVM_FFI_LIB_DIR": str(runtime.folder),
        "G2P_TVM_FFI_STATIC_NAME": "tvm_ffi",
    }


def wheel_library_variables(archive: Path, prefix: str) -> dict[str, str]:
    """The same for linking against the shared libraries inside the TVM wheels."""
    extension = "dylib" if platform.system() == "Darwin" else "so"
    return {
        "G2P_TVM_SYSTEM_LIB": str(archive),
        "G2P_TVM_SYSTEM_LIB_PREFIX": prefix,
        "G2P_TVM_RUNTIME_LIB": str(package_folder("tvm") / f"lib/libtvm_runtime.{extension}"),
        "G2P_TVM_STATIC_LINK": "0",
        "G2P_TVM_FFI_LIB_DIR": str(package_folder("tvm_ffi") / "lib"),
    }


def build_runner(archive: Archive, *, cache: Cache, progress: Progress) -> Runner:
    """The runner of an archive compiled for this machine, from the cache or built now.

    Raises ToolchainMissing, RunnerBuildFailed, or MissingRegistration when a model did not get linked.
    """
    root = workspace_root()
    cargo = shutil.which("cargo")
    if cargo is None:
        raise ToolchainMissing("cargo was not found", cure=RUST_CURE)
    runtime = build_runtime(cache=cache, progress=progress)
    sources = [root / "Cargo.toml", root / "Cargo.lock"]
    for folder in ("rust", "device_runner"):
        sources += [path for path in (root / folder).rglob("*") if path.suffix in (".rs", ".toml")]
    fields = {
        "archive": archive.sha256,
        "prefix": archive.metadata.prefix_base,
        "runtime": [hash_file(runtime.runtime), hash_file(runtime.ffi)],
        "sources": hash_sources(sources, root),
        "rustc": _version("rustc"),
    }

    def build(folder: Path) -> None:
        progress("building the runner with cargo")
        target = cache.root / "cargo"
        command = [cargo, "build", "--release", "--locked", "--package", "device-runner", "--target-dir", str(target)]
        variables = link_variables(archive.path, archive.metadata.prefix_base, runtime)
        _run_cargo(command, root, os.environ | variables | {"HARNESS_ARCHIVE_SHA256": archive.sha256}, progress)
        shutil.copy2(target / "release" / BINARY, folder / BINARY)

    path = cache.fetch("runners", content_key(fields), build) / BINARY
    facts = check_registrations(path, archive.metadata.prefixes.values())
    return Runner(path, archive, hash_file(path), facts.size)


def _version(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise ToolchainMissing(f"{tool} was not found", cure=RUST_CURE)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()


def _run_cargo(command: list[str], root: Path, environment: dict[str, str], progress: Progress) -> None:
    """Run cargo, passing on what it compiles; its last lines are the error's message."""
    last: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                last.append(line)
                if match := re.match(r"\s*Compiling (\S+)", line):
                    progress(f"cargo compiles {match[1]}")
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise RunnerBuildFailed(f"cargo ended with status {process.returncode}:\n{''.join(last).strip()}")
