"""Build the library that an app calls: ``charsiug2p-mobile`` with an archive, cached like a runner.

For this machine it is a shared library with the archive and the runtime linked in. For iOS it is a static one without
them, which ``swift.py`` puts beside them.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from harness.compiler.metadata import Archive
from harness.core.cache import Cache, content_key, hash_file, hash_sources
from harness.core.progress import Progress
from harness.native.cargo import cargo_build
from harness.native.compilers import cxx_compiler
from harness.native.ios.runtime import ios_runtime
from harness.native.ios.tools import AppleTools, apple_tools
from harness.native.platforms import NoRunner, platform_of
from harness.native.process import ToolFailed
from harness.native.runner import (
    RunnerBuildFailed,
    run_cargo,
    sources_hash,
    workspace_root,
)
from harness.native.runtime import build_runtime
from harness.native.toolchain import find_toolchain

PACKAGE, BRIDGE = "charsiug2p-mobile", "charsiug2p-flutter"
BRIDGE_WORKSPACE = "bindings/flutter/rust"
SUFFIX = "dylib" if sys.platform == "darwin" else "so"


def build_library(
    archive: Archive, *, cache: Cache, progress: Progress, stripped: bool = False, flutter: bool = False
) -> Path:
    """Return the library for an archive, from the cache or built now.

    ``stripped`` leaves out of a shared library the symbols that nothing calls. ``flutter`` puts flutter_rust_bridge
    around the same models.

    Raises NoRunner for an archive of neither this machine nor iOS, ToolchainMissing, RunnerBuildFailed.
    """
    root = workspace_root()
    platform = platform_of(archive.metadata.target)
    toolchain = find_toolchain(platform.rust, cache=cache, progress=progress)
    apple: AppleTools | None = None
    if platform.ios is not None:
        apple = apple_tools(platform.ios, cache=cache, progress=progress)
        linker, runtime = apple.identity, ios_runtime(platform.ios, apple, cache=cache, progress=progress)
    elif platform.linker == "host":
        linker = cxx_compiler(platform.cxx, cache).identity
        runtime = build_runtime(platform.cxx, cache=cache, progress=progress)
    else:
        raise NoRunner(f"no library is built for {archive.metadata.target}", cure="compile for this machine or for iOS")
    package = BRIDGE if flutter else PACKAGE
    # Tokenizers are three megabytes of code, for models that have one.
    tokenizers = {model: hash_file(path) for model, path in archive.tokenizers.items()}
    workspace = root / BRIDGE_WORKSPACE if flutter else None
    suffix, crate_type = (SUFFIX, "cdylib") if apple is None else ("a", "staticlib")
    name = f"lib{package.replace('-', '_')}.{suffix}"
    sources = sources_hash(root)
    fields = {
        "archive": archive.sha256,
        "prefix": archive.metadata.prefix_base,
        "platform": asdict(platform),
        "linker": linker,
        "runtime": [hash_file(runtime.runtime), hash_file(runtime.ffi)],
        "sources": sources,
        "rustc": toolchain.version,
        "stripped": stripped,
    }
    if tokenizers:
        fields["tokenizers"] = tokenizers
    if workspace is not None:
        paths = [workspace / "Cargo.toml", workspace / "Cargo.lock", *workspace.glob("src/*.rs")]
        fields["bridge"] = hash_sources(paths, workspace)

    def build(folder: Path) -> None:
        progress("building the library with cargo")
        plan = cargo_build(
            platform,
            toolchain,
            cache,
            apple,
            package=package,
            crate_type=crate_type,
            workspace=workspace,
            features=["tokenizer"] if tokenizers else [],
        )
        # For the last package alone, so that both kinds share all others.
        flags = ["--", "-Cstrip=symbols"] if stripped else []
        output = plan.output.with_name(name)
        try:
            run_cargo(
                plan,
                archive,
                runtime,
                output,
                folder / name,
                sources=sources,
                progress=progress,
                flags=flags,
            )
        except ToolFailed as error:
            raise RunnerBuildFailed(str(error)) from error

    return cache.fetch("libraries", content_key(fields), build) / name
