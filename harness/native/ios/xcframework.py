"""Package models and TVM's runtime for an app: an xcframework with one static library for each slice."""

from __future__ import annotations

import plistlib
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compiler.metadata import FILE_NAME, Archive
from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.core.files import replacing
from harness.core.progress import Progress
from harness.native.compilers import package_folder
from harness.native.ios.runtime import ios_runtime
from harness.native.ios.tools import Slice, apple_tools
from harness.native.process import ToolFailed, run_tool

NAME = "HarnessModels"
SLICE_TARGETS: dict[Slice, str] = {"device": "ios-arm64", "simulator": "ios-arm64-simulator"}
"""The compile targets, which are also Xcode's names of the slices."""
MERGE_DEADLINE_SECONDS = 300.0


class PackagingFailed(HarnessError):
    """The archiver did not merge the libraries."""

    cure = "`harness doctor` checks the ziglang package, whose archiver is used"


@dataclass(frozen=True)
class Addition:
    """Describe what else goes into a slice: static libraries, C headers, and modules of these for the module map."""

    libraries: Sequence[Path]
    headers: Sequence[Path]
    modules: str


NOTHING = Addition((), (), "")


def make_xcframework(
    archives: Mapping[Slice, Archive],
    out: Path,
    *,
    cache: Cache,
    progress: Progress,
    additions: Mapping[Slice, Addition] | None = None,
) -> Path:
    """Make ``HarnessModels.xcframework`` below ``out``, and return its path; a whole one replaces an older one.

    Each slice has a static library of the models and the runtime, and C headers with a module map. The archive's
    metadata is written beside it. Raises PackagingFailed, RuntimeBuildFailed or ToolchainMissing.
    """
    added = additions or {}
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{NAME}.xcframework"
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{NAME}.") as work:
        framework = Path(work) / target.name
        for which, archive in archives.items():
            progress(f"the {which}'s slice")
            folder = framework / SLICE_TARGETS[which]
            _write_slice(folder, which, archive, added.get(which, NOTHING), cache, progress)
        (framework / "Info.plist").write_bytes(plistlib.dumps(framework_plist(list(archives))))
        if target.exists():
            target.rename(Path(work) / "older")
        framework.rename(target)
    first = next(iter(archives.values()))
    with replacing(out / FILE_NAME) as partial:
        shutil.copyfile(first.folder / FILE_NAME, partial)
    return target


def framework_plist(slices: list[Slice]) -> dict[str, Any]:
    """Return the property list for Xcode: which library is for which slice."""
    libraries = []
    for which in slices:
        library: dict[str, Any] = {
            "BinaryPath": f"lib{NAME}.a",
            "HeadersPath": "Headers",
            "LibraryIdentifier": SLICE_TARGETS[which],
            "LibraryPath": f"lib{NAME}.a",
            "SupportedArchitectures": ["arm64"],
            "SupportedPlatform": "ios",
        }
        if which == "simulator":
            library["SupportedPlatformVariant"] = "simulator"
        libraries.append(library)
    return {"AvailableLibraries": libraries, "CFBundlePackageType": "XFWK", "XCFrameworkFormatVersion": "1.0"}


def header(archive: Archive) -> str:
    """Return the umbrella header: TVM's C interface, and the prefix of each compiled function."""
    lines = [
        "// Prefixes for `ffi.SystemLib`. The library has to be linked whole (-force_load), or its models are dropped.",
        "#pragma once",
        "#include <tvm/ffi/c_api.h>",
    ]
    base = archive.metadata.prefix_base.rstrip("_")
    named = {f"{base}_{function}": prefix for function, prefix in archive.metadata.prefixes.items()}
    named |= {model.name: model.prefix for model in archive.metadata.models}
    for name, prefix in named.items():
        lines.append(f'#define {re.sub(r"[^A-Za-z0-9]", "_", name).upper()}_PREFIX "{prefix}"')
    return "\n".join([*lines, ""])


MODULE_MAP = f"""module {NAME} {{
  umbrella header "{NAME}.h"
  export *
  link "c++"
}}
"""


def _write_slice(
    folder: Path, which: Slice, archive: Archive, addition: Addition, cache: Cache, progress: Progress
) -> None:
    tools = apple_tools(which, cache=cache, progress=progress)
    runtime = ios_runtime(which, tools, cache=cache, progress=progress)
    headers = folder / "Headers"
    for package, place in (
        ("tvm_ffi", "include/tvm/ffi/c_api.h"),
        ("tvm_ffi", "3rdparty/dlpack/include/dlpack/dlpack.h"),
    ):
        target = headers / place.split("include/")[-1]
        target.parent.mkdir(parents=True)
        shutil.copyfile(package_folder(package) / place, target)
    (headers / f"{NAME}.h").write_text(header(archive), encoding="utf-8")
    (headers / "module.modulemap").write_text(MODULE_MAP + addition.modules, encoding="utf-8")
    for path in addition.headers:
        shutil.copyfile(path, headers / path.name)
    merge_libraries([archive.path, runtime.runtime, runtime.ffi, *addition.libraries], folder / f"lib{NAME}.a")


def merge_libraries(libraries: list[Path], target: Path) -> None:
    """Merge several libraries' objects into one static library, in their order; equal names stay apart.

    Raises PackagingFailed.
    """
    command = [sys.executable, "-m", "ziglang", "ar", "--format=darwin", "qcsDL", str(target), *map(str, libraries)]
    try:
        run_tool(command, deadline=MERGE_DEADLINE_SECONDS)
    except ToolFailed as error:
        raise PackagingFailed(f"cannot write {target.name}: {error}") from error
