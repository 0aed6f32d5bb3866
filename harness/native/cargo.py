"""Make the cargo command line and environment of a runner for each platform. A pure function, so all are tested."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.cache import Cache
from harness.core.files import replacing
from harness.core.installation import install_cure
from harness.native.cargo_environment import encoded_flags
from harness.native.compilers import (
    NDK_API_LEVEL,
    ToolchainMissing,
    ndk_tool,
    package_folder,
    zig_environment,
)
from harness.native.ios.tools import AppleTools
from harness.native.platforms import Linker, Platform
from harness.native.toolchain import RustToolchain

PACKAGE, BINARY = "device-runner-program", "device_runner"
OUR_CRATES = ("charsiug2p-", "device-runner")
"""How the names of the workspace's packages begin."""
NDK_PAGE_BYTES = 16384
"""Phones with pages of 16 KiB do not load segments with a smaller alignment. Zig aligns to 64 KiB by itself."""


LINK_FLAGS: dict[Linker, tuple[str, ...]] = {
    "host": (),
    # Zig brings the C library and its start files, and Rust's own copies would clash with them. Zig's linker has no
    # -Cstrip=debuginfo: it drops the symbols too, and with them the proof that the models are linked.
    "zig": ("-Clink-self-contained=no",),
    "ndk": (f"-Clink-arg=-Wl,-z,max-page-size={NDK_PAGE_BYTES}", "-Cstrip=debuginfo"),
    "apple": (),
}
"""The flags of each linker. The binary depends on them besides the toolchain and the paths."""


@dataclass(frozen=True)
class CargoBuild:
    """Describe one build: the command, its environment, and where the runner will be."""

    command: list[str]
    environment: dict[str, str]
    output: Path
    folder: Path
    """Cargo's, which all builds of a toolchain share."""


def cargo_build(
    platform: Platform,
    toolchain: RustToolchain,
    cache: Cache,
    apple: AppleTools | None = None,
    *,
    package: str = PACKAGE,
    crate_type: str | None = None,
    workspace: Path | None = None,
    features: Sequence[str] = (),
) -> CargoBuild:
    """Return the build of a runner, with ``apple`` for iOS; raises ToolchainMissing.

    ``package`` is another package to build, ``crate_type`` what to make of its library, ``workspace`` the folder of
    another workspace that has it, and ``features`` those of the package.
    """
    target_dir = cache.root / "cargo" / toolchain.name
    options = ["--release", "--locked", "--package", package, "--target-dir", str(target_dir)]
    if workspace is not None:
        options += ["--manifest-path", str(workspace / "Cargo.toml")]
    if features:
        options += ["--features", ",".join(features)]
    build = "build"
    if crate_type is not None:
        options += ["--lib", "--crate-type", crate_type]
        build = "rustc"  # of the two commands the one that takes a crate type
    if platform.rust is None:
        command = [str(toolchain.cargo), build, *options]
        return CargoBuild(
            command, toolchain.environment | encoded_flags([]), target_dir / "release" / BINARY, target_dir
        )
    options += ["--target", platform.rust]
    flags = [*LINK_FLAGS[platform.linker]]
    if toolchain.sysroot is not None:
        flags.append(f"--sysroot={toolchain.sysroot}")
    variable = f"CARGO_TARGET_{platform.rust.upper().replace('-', '_')}"
    if platform.linker == "zig":
        command = [str(_cargo_zigbuild()), "zigbuild", *options]
        environment = zig_environment(cache) | {
            "CARGO_ZIGBUILD_ZIG_PATH": str(package_folder("ziglang") / ("zig.exe" if os.name == "nt" else "zig")),
            "CARGO_ZIGBUILD_CACHE_DIR": str(cache.root / "zig/cargo-zigbuild"),
            "CARGO": str(toolchain.cargo),
        }
    elif apple is not None:
        command = [str(toolchain.cargo), build, *options]
        flags += [*apple.rust_flags, *(f"-Clink-arg={flag}" for flag in apple.link_flags)]
        environment = apple.environment | {f"{variable}_LINKER": str(apple.linker)}
    else:
        clang = ndk_tool("clang")
        command = [str(toolchain.cargo), build, *options]
        flags += [
            f"-Clink-arg=--target={platform.rust}{NDK_API_LEVEL}",
            f"-Lnative={clang.parent.parent}/sysroot/usr/lib/{platform.rust}",
        ]
        environment = {f"{variable}_LINKER": str(clang)}
    output = target_dir / platform.rust / "release" / BINARY
    return CargoBuild(command, toolchain.environment | environment | encoded_flags(flags), output, target_dir)


def forget_other_sources(plan: CargoBuild, sources: str) -> None:
    """Have cargo compile our crates again if its folder was last used with other sources.

    ``sources`` is their hash. Cargo looks at the times of files alone, and several checkouts and installed versions
    share the folder: it would take the crate of one for that of another.
    """
    stamp = plan.folder / "sources.sha256"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == sources:
        return
    for pattern in ("*/.fingerprint/*", "*/*/.fingerprint/*"):
        for one in plan.folder.glob(pattern):
            if one.name.startswith(OUR_CRATES):
                shutil.rmtree(one, ignore_errors=True)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with replacing(stamp) as partial:
        partial.write_text(sources, encoding="utf-8")


def _cargo_zigbuild() -> Path:
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (folder / "cargo-zigbuild").is_file():
            return folder / "cargo-zigbuild"
    raise ToolchainMissing("the Python package cargo-zigbuild is not installed", cure=install_cure())
