"""Build the library that an app loads: ``charsiug2p-mobile`` with an archive linked in, cached like a runner."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from harness.compiler.metadata import Archive
from harness.core.cache import Cache, content_key, hash_file, hash_sources
from harness.core.progress import Progress
from harness.native.cargo import cargo_build
from harness.native.cargo_environment import cargo_environment
from harness.native.compilers import cxx_compiler
from harness.native.platforms import NoRunner, platform_of
from harness.native.process import ToolFailed, compiled_crate, run_tool
from harness.native.runner import BUILD_DEADLINE_SECONDS, RunnerBuildFailed, runtime_variables, workspace_root
from harness.native.runtime import build_runtime
from harness.native.toolchain import find_toolchain

PACKAGE = "charsiug2p-mobile"
LIBRARY = "libcharsiug2p_mobile.dylib" if sys.platform == "darwin" else "libcharsiug2p_mobile.so"


def build_library(archive: Archive, *, cache: Cache, progress: Progress, stripped: bool = False) -> Path:
    """Return the shared library of an archive for this machine, from the cache or built now.

    ``stripped`` leaves out the symbols that nothing calls, for an app.

    Raises NoRunner for an archive of another machine, ToolchainMissing, RunnerBuildFailed.
    """
    root = workspace_root()
    platform = platform_of(archive.metadata.target)
    if platform.linker != "host":
        raise NoRunner(
            f"no shared library is built for {archive.metadata.target}", cure="compile for this machine: --target llvm"
        )
    toolchain = find_toolchain(platform.rust, cache=cache, progress=progress)
    runtime = build_runtime(platform.cxx, cache=cache, progress=progress)
    sources = [root / "Cargo.toml", root / "Cargo.lock"]
    sources += [path for path in (root / "rust").rglob("*") if path.suffix in (".rs", ".toml")]
    fields = {
        "archive": archive.sha256,
        "prefix": archive.metadata.prefix_base,
        "platform": asdict(platform),
        "linker": cxx_compiler(platform.cxx, cache).identity,
        "runtime": [hash_file(runtime.runtime), hash_file(runtime.ffi)],
        "sources": hash_sources(sources, root),
        "rustc": toolchain.version,
        "stripped": stripped,
    }

    def build(folder: Path) -> None:
        progress("building the library with cargo")
        plan = cargo_build(platform, toolchain, cache, package=PACKAGE, crate_type="cdylib")
        # An argument of the last package alone, so that both kinds share all others.
        command = [*plan.command, "--", "-Cstrip=symbols"] if stripped else plan.command
        # Only the last package links the archive. Everything else is compiled once for all archives.
        linked = {"HARNESS_ARCHIVE": str(archive.path), "HARNESS_ARCHIVE_PREFIX": archive.metadata.prefix_base}

        def show_crate(line: str) -> None:
            if crate := compiled_crate(line):
                progress(f"cargo compiles {crate}")

        # Cargo locks its folder during one build. The library is taken before the next build replaces it.
        with FileLock(plan.output.parents[1] / f"{platform.linker}.lock", timeout=BUILD_DEADLINE_SECONDS):
            try:
                run_tool(
                    command,
                    deadline=BUILD_DEADLINE_SECONDS,
                    environment=cargo_environment() | plan.environment | runtime_variables(runtime) | linked,
                    folder=root,
                    on_line=show_crate,
                )
            except ToolFailed as error:
                raise RunnerBuildFailed(str(error)) from error
            shutil.copy2(plan.output.with_name(LIBRARY), folder / LIBRARY)

    return cache.fetch("libraries", content_key(fields), build) / LIBRARY
