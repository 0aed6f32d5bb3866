"""Build the device runner with its models linked in: one cargo build for each archive, cached."""

from __future__ import annotations

import os
import platform as machine
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from harness.compiler.metadata import Archive
from harness.core.cache import Cache, content_key, hash_file, hash_sources
from harness.core.errors import HarnessError
from harness.core.installation import PACKAGED_WORKSPACE, harness_folder, install_command
from harness.core.progress import Progress
from harness.native.cargo import BINARY, LINK_FLAGS, CargoBuild, cargo_build, forget_other_sources
from harness.native.cargo_environment import cargo_environment
from harness.native.compilers import ToolchainMissing, cxx_compiler, package_folder
from harness.native.inspection import check_platform, check_registrations
from harness.native.ios.app import AppOptions, app_file
from harness.native.ios.errors import UnknownSymbols
from harness.native.ios.facts import check_executable
from harness.native.ios.runtime import ios_runtime
from harness.native.ios.tools import apple_tools, undefined_symbols
from harness.native.platforms import Linker, platform_of
from harness.native.process import ToolFailed, compiled_crate, run_tool
from harness.native.runtime import RuntimeLibs, build_runtime
from harness.native.toolchain import find_toolchain

BUILD_DEADLINE_SECONDS = 1800.0
WORKSPACE_VARIABLE = "HARNESS_RUST_WORKSPACE"
DEFAULT_APP = AppOptions()
SYSTEM_LIBRARIES: dict[Linker, frozenset[str]] = {
    "zig": frozenset(),
    "ndk": frozenset({"libc.so", "libm.so", "libdl.so", "liblog.so"}),
}
"""The libraries that a runner for another machine may load there: none, or those of every Android."""


class RunnerBuildFailed(HarnessError):
    """cargo could not build the runner."""

    cure = "cargo's message is above; `harness doctor` checks the toolchain"


@dataclass(frozen=True)
class Runner:
    """Describe one file with an archive's models: an executable, or for iOS an app (``.ipa``) with one."""

    path: Path
    archive: Archive
    sha256: str
    size: int


def workspace_root() -> Path:
    """Return the Rust workspace: the one inside an installed package, or the checkout around the package.

    Raises ToolchainMissing if there is neither.
    """
    package = harness_folder()
    configured = os.environ.get(WORKSPACE_VARIABLE)
    places = [Path(configured)] if configured else [package / PACKAGED_WORKSPACE, package.parent]
    for root in places:
        if (root / "device_runner/Cargo.toml").is_file():
            return root
    raise ToolchainMissing(
        f"{places[-1]} does not hold the Rust workspace",
        cure=f"unset {WORKSPACE_VARIABLE}" if configured else f"install the package again: {install_command()}",
    )


def sources_hash(root: Path) -> str:
    """Return the hash of everything in a workspace from which cargo builds."""
    sources = [root / "Cargo.toml", root / "Cargo.lock"]
    for folder in ("rust", "device_runner"):
        sources += [path for path in (root / folder).rglob("*") if path.suffix in (".rs", ".toml")]
    return hash_sources(sources, root)


def link_variables(archive: Path, prefix: str, runtime: RuntimeLibs) -> dict[str, str]:
    """Return the ``G2P_TVM_*`` variables that link an archive and our runtime statically (see docs/rust.md)."""
    return {
        "G2P_TVM_SYSTEM_LIB": str(archive),
        "G2P_TVM_SYSTEM_LIB_PREFIX": prefix,
        **runtime_variables(runtime),
    }


def runtime_variables(runtime: RuntimeLibs) -> dict[str, str]:
    """Return the variables that link our runtime statically, without an archive."""
    return {
        "G2P_TVM_RUNTIME_LIB": str(runtime.runtime),
        "G2P_TVM_STATIC_LINK": "1",
        "G2P_TVM_FFI_LIB_DIR": str(runtime.folder),
        "G2P_TVM_FFI_STATIC_NAME": "tvm_ffi",
    }


def wheel_library_variables(archive: Path, prefix: str) -> dict[str, str]:
    """Return the variables that link against the shared libraries inside the TVM wheels."""
    extension = "dylib" if machine.system() == "Darwin" else "so"
    return {
        "G2P_TVM_SYSTEM_LIB": str(archive),
        "G2P_TVM_SYSTEM_LIB_PREFIX": prefix,
        "G2P_TVM_RUNTIME_LIB": str(package_folder("tvm") / f"lib/libtvm_runtime.{extension}"),
        "G2P_TVM_STATIC_LINK": "0",
        "G2P_TVM_FFI_LIB_DIR": str(package_folder("tvm_ffi") / "lib"),
    }


def runner_variables(archive: Archive) -> dict[str, str]:
    """Return the variables for the runner's own build script: whose orders it answers, and on which processors."""
    return {
        "HARNESS_ARCHIVE_SHA256": archive.sha256,
        "HARNESS_CPU_FEATURES": ",".join(archive.metadata.cpu_features),
    }


def build_runner(archive: Archive, *, cache: Cache, progress: Progress, app: AppOptions = DEFAULT_APP) -> Runner:
    """Return the runner of an archive for the target it was compiled for, from the cache or built now.

    For iOS it is an app in one file (``.ipa``), with the options ``app``. A missing toolchain for a foreign target is
    installed into the cache first. Raises NoRunner, ToolchainMissing, RunnerBuildFailed, UnsuitableBinary,
    UnknownSymbols, MissingRegistration if a model was not linked, and what installing a toolchain raises.
    """
    binary = build_executable(archive, cache=cache, progress=progress)
    which = platform_of(archive.metadata.target).ios
    if which is None:
        return Runner(binary, archive, hash_file(binary), binary.stat().st_size)
    companion = None
    if app.companion is not None:
        companion = build_executable(app.companion, cache=cache, progress=progress, companion_of=archive)
    tools = apple_tools(which, cache=cache, progress=progress)
    path = app_file(binary, cache=cache, bundle_id=app.bundle_id, which=which, companion=companion, tools=tools)
    return Runner(path, archive, hash_file(path), path.stat().st_size)


def build_executable(
    archive: Archive, *, cache: Cache, progress: Progress, companion_of: Archive | None = None
) -> Path:
    """Return the executable alone, checked.

    ``companion_of`` makes it answer that archive's orders, as an app does. Raises as ``build_runner`` does.
    """
    root = workspace_root()
    platform = platform_of(archive.metadata.target)
    toolchain = find_toolchain(platform.rust, cache=cache, progress=progress)
    if platform.ios:
        apple = apple_tools(platform.ios, cache=cache, progress=progress)
        linker, runtime = apple.identity, ios_runtime(platform.ios, apple, cache=cache, progress=progress)
    else:
        apple = None
        linker = cxx_compiler(platform.cxx, cache).identity
        runtime = build_runtime(platform.cxx, cache=cache, progress=progress)
    sources = sources_hash(root)
    fields = {
        "archive": archive.sha256,
        "prefix": archive.metadata.prefix_base,
        "cpu_features": archive.metadata.cpu_features,
        "platform": asdict(platform),
        "link_flags": [*LINK_FLAGS[platform.linker], *(apple.link_flags if apple else ())],
        "linker": linker,
        "runtime": [hash_file(runtime.runtime), hash_file(runtime.ffi)],
        "sources": sources,
        "rustc": toolchain.version,
    }
    baked = runner_variables(archive)
    if companion_of is not None:
        baked |= {"HARNESS_ARCHIVE_SHA256": companion_of.sha256, "HARNESS_RUNNER_APP": "1"}
        fields["baked"] = baked

    def build(folder: Path) -> None:
        verified = find_toolchain(platform.rust, cache=cache, progress=progress, verify=True)
        progress("building the runner with cargo")
        plan = cargo_build(platform, verified, cache, apple)
        try:
            run_cargo(
                plan,
                archive,
                runtime,
                plan.output,
                folder / BINARY,
                sources=sources,
                progress=progress,
                baked=baked,
            )
        except ToolFailed as error:
            if apple and (unknown := undefined_symbols(str(error))):
                raise UnknownSymbols(f"nobody has the symbols {', '.join(unknown)}") from error
            raise RunnerBuildFailed(str(error)) from error

    path = cache.fetch("runners", content_key(fields), build) / BINARY
    facts = check_registrations(path, archive.metadata.registrations)
    if apple and platform.ios:
        check_executable(path, platform.ios, stubbed=apple.name == "LLVM")
    elif platform.architecture is not None:
        check_platform(path, facts, platform.architecture, SYSTEM_LIBRARIES[platform.linker])
    return path


def run_cargo(
    plan: CargoBuild,
    archive: Archive,
    runtime: RuntimeLibs,
    output: Path,
    to: Path,
    *,
    sources: str,
    progress: Progress,
    flags: Sequence[str] = (),
    baked: Mapping[str, str] | None = None,
) -> None:
    """Run one build with an archive linked in, and copy its ``output``. Raises ToolFailed.

    ``flags`` are those of the last package alone, and ``baked`` further variables of the build.
    """
    # Only the last package links the archive. Everything else is compiled once for all archives.
    linked = {"HARNESS_ARCHIVE": str(archive.path), "HARNESS_ARCHIVE_PREFIX": archive.metadata.prefix_base}

    def show_crate(line: str) -> None:
        if crate := compiled_crate(line):
            progress(f"cargo compiles {crate}")

    # One build at a time, for whatever platform: the next one may forget crates that this one reads, or replace the
    # output before it is taken. Cargo itself would let two wait for each other anyway.
    with FileLock(plan.folder / "build.lock", timeout=BUILD_DEADLINE_SECONDS):
        forget_other_sources(plan, sources)
        run_tool(
            [*plan.command, *flags],
            deadline=BUILD_DEADLINE_SECONDS,
            environment=cargo_environment()
            | plan.environment
            | runtime_variables(runtime)
            | linked
            | dict(baked or {}),
            folder=workspace_root(),
            on_line=show_crate,
        )
        shutil.copy2(output, to)
