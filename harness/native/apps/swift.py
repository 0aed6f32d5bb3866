"""Write a Swift package: the xcframework with the library for apps in it, and the generated Swift."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.compiler.metadata import Archive
from harness.core.cache import Cache
from harness.core.progress import Progress
from harness.native.apps.library import build_library
from harness.native.apps.package import binding, copy, fill_package
from harness.native.ios.tools import Slice
from harness.native.ios.xcframework import NAME, Addition, make_xcframework

PACKAGE = f"""// swift-tools-version:5.9
import PackageDescription

let package = Package(
  name: "Charsiug2p",
  platforms: [.iOS(.v14)],
  products: [.library(name: "Charsiug2p", targets: ["Charsiug2p"])],
  targets: [
    .binaryTarget(name: "{NAME}", path: "{NAME}.xcframework"),
    .target(
      name: "Charsiug2p",
      dependencies: ["{NAME}"],
      // Nothing refers to what registers the models: without the flag the linker leaves them out.
      linkerSettings: [.linkedLibrary("c++"), .unsafeFlags(["-Xlinker", "-all_load"])]
    ),
  ]
)
"""
MODULE = """module Charsiug2pFFI {
  header "Charsiug2pFFI.h"
  export *
}
module Charsiug2pC {
  header "charsiug2p.h"
  export *
}
"""
HEADERS = ("swift/Charsiug2pFFI.h", "c/charsiug2p.h")


def write_swift_package(
    archives: Mapping[Slice, Archive], out: Path, *, harness_version: str, cache: Cache, progress: Progress
) -> list[Path]:
    """Write the package to ``out``, and return its files; a whole one replaces an older one.

    The manifest is of the device's archive. Raises NotAPackage, and what building and merging the libraries raises.
    """

    def fill(folder: Path) -> None:
        headers = [binding(name) for name in HEADERS]
        additions = {
            which: Addition([build_library(archive, cache=cache, progress=progress)], headers, MODULE)
            for which, archive in archives.items()
        }
        make_xcframework(archives, folder, cache=cache, progress=progress, additions=additions)
        (folder / "Package.swift").write_text(PACKAGE, encoding="utf-8")
        copy(binding("swift/Charsiug2p.swift"), folder / "Sources/Charsiug2p/Charsiug2p.swift")
        copy(binding("swift/Example.swift"), folder / "Example.swift")

    first = next(iter(archives.values()))
    return fill_package("swift", first, out, fill, harness_version=harness_version)
