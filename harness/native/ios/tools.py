"""Choose the tools for an iOS binary: Xcode's if it is there, else zig, LLVM's linker and stubs of iOS's libraries."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.core.cache import Cache
from harness.core.commands import run_command
from harness.core.progress import Progress
from harness.native.compilers import CxxCompiler, ToolchainMissing, cxx_compiler, identity
from harness.native.ios.lld import find_lld, lld_version, present_lld
from harness.native.ios.stubs import MINIMUM_OS, SDK_VERSION, lists_hash, stub_sdk

XCRUN_DEADLINE_SECONDS = 120.0
Slice = Literal["device", "simulator"]
ZIG_TRIPLES: dict[Slice, str] = {
    "device": f"aarch64-ios.{MINIMUM_OS}",
    "simulator": f"aarch64-ios.{MINIMUM_OS}-simulator",
}
CLANG_TRIPLES: dict[Slice, str] = {
    "device": f"arm64-apple-ios{MINIMUM_OS}",
    "simulator": f"arm64-apple-ios{MINIMUM_OS}-simulator",
}
XCODE_SDKS: dict[Slice, str] = {"device": "iphoneos", "simulator": "iphonesimulator"}
PLATFORM_NAMES: dict[Slice, str] = {"device": "ios", "simulator": "ios-simulator"}


@dataclass(frozen=True)
class AppleTools:
    """Hold a set of tools.

    rustc starts ``linker``. ``link_flags`` are the linker's, one argument each. ``identity`` changes if the tools'
    output may change. ``codesign`` signs bundles ad hoc; None if the linker has signed.
    """

    name: Literal["Xcode", "LLVM"]
    identity: str
    linker: Path
    rust_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    cxx: CxxCompiler
    codesign: Path | None
    environment: dict[str, str] = field(default_factory=dict)


def apple_tools(which: Slice, *, cache: Cache, progress: Progress) -> AppleTools:
    """Return the tools for one slice; LLVM's linker is fetched into the cache if needed. Raises ToolchainMissing."""
    return xcode_tools(which) or llvm_tools(which, cache, progress)


def present_tools(which: Slice, cache: Cache) -> str | None:
    """Describe the tools that link for iOS here without fetching anything; None if something must be fetched.

    Raises ToolchainMissing for tools that are there but do not answer.
    """
    if xcode := xcode_tools(which):
        return f"Xcode ({xcode.identity})"
    linker = present_lld(cache)
    return lld_version(linker) if linker else None


def xcode_tools(which: Slice) -> AppleTools | None:
    """Return Xcode's tools, or None without an Xcode with iOS's SDK (the command line tools alone have none)."""
    if shutil.which("xcrun") is None:
        return None
    sdk = _xcrun(which, "--show-sdk-path")
    clang, codesign = _xcrun(which, "--find", "clang"), _xcrun(which, "--find", "codesign")
    if not (sdk and clang and codesign):
        return None
    compiler = [f"{clang}++", "-target", CLANG_TRIPLES[which], "-isysroot", sdk]
    version = f"{identity(compiler)}, SDK {_xcrun(which, '--show-sdk-version')}"
    return AppleTools(
        name="Xcode",
        identity=version,
        linker=Path(clang),
        rust_flags=(),
        link_flags=(),
        cxx=CxxCompiler(tuple(compiler), version),
        codesign=Path(codesign),
        environment={"SDKROOT": sdk, "IPHONEOS_DEPLOYMENT_TARGET": MINIMUM_OS},
    )


def undefined_symbols(output: str) -> list[str]:
    """Return the symbols that LLVM's linker or Apple's could not find, from its output."""
    found = re.findall(r"undefined symbol: (\S+)", output)
    found += re.findall(r'^ +"(_[^"]+)", referenced from:', output, re.MULTILINE)
    return sorted(set(found))


def _xcrun(which: Slice, *question: str) -> str:
    """Return xcrun's answer about the slice's SDK, empty if it has none."""
    try:
        done = run_command(["xcrun", "--sdk", XCODE_SDKS[which], *question], deadline=XCRUN_DEADLINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainMissing(
            f"xcrun does not answer: {error}", cure="look at what `xcrun --find clang` prints"
        ) from error
    return done.stdout.strip() if done.returncode == 0 else ""


def llvm_tools(which: Slice, cache: Cache, progress: Progress) -> AppleTools:
    """Return zig, LLVM's linker and the stubs, from the cache or made now; raises ToolchainMissing."""
    linker = find_lld(cache, progress)
    return AppleTools(
        name="LLVM",
        identity=f"{lld_version(linker)} with the stubs {lists_hash()[:12]}",
        linker=linker,
        rust_flags=("-Clinker-flavor=ld64.lld",),
        link_flags=(
            # rustc also names its oldest release as the SDK's if there is no SDK.
            "-platform_version",
            PLATFORM_NAMES[which],
            MINIMUM_OS,
            SDK_VERSION,
            "-adhoc_codesign",
            # Chained fixups turn __mod_init_func into __init_offsets, which the loaders of old releases do not read.
            "-no_fixup_chains",
            "--error-limit=0",
        ),
        cxx=cxx_compiler(ZIG_TRIPLES[which], cache),
        codesign=None,
        environment={"SDKROOT": str(stub_sdk(cache)), "IPHONEOS_DEPLOYMENT_TARGET": MINIMUM_OS},
    )
