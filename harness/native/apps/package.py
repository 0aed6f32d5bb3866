"""Write what an app's own build needs into a folder: the library, bindings, an example, licences and a manifest."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.compiler.metadata import FILE_NAME, Archive
from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.core.installation import DISTRIBUTION, install_command
from harness.core.progress import Progress
from harness.native.apps.library import build_library
from harness.native.apps.manifest import FILE_NAME as MANIFEST
from harness.native.apps.manifest import make_manifest
from harness.native.compilers import ToolchainMissing
from harness.native.runner import workspace_root

FLUTTER = "flutter"
NOT_PACKAGED = ("rust", "generated.json", "flutter_rust_bridge.yaml")
"""What of the Flutter plugin is for those who change it."""
LICENCES = ("LICENSE", "NOTICE", "THIRD_PARTY_NOTICES.md")
BINDINGS = {
    "c": {
        "c/charsiug2p.h": "include/charsiug2p.h",
        "c/example.c": "example.c",
        "c/example_text.c": "example_text.c",
    },
    "kotlin": {
        "kotlin/charsiug2p/charsiug2p.kt": "kotlin/charsiug2p/charsiug2p.kt",
        "kotlin/Example.kt": "Example.kt",
        "kotlin/ExampleText.kt": "ExampleText.kt",
    },
}
"""The files of a package by its language: where each is in ``bindings``, and where in the package."""


class NotAPackage(HarnessError):
    """A folder holds something else than a package, which would be removed."""

    cure = "name a new or an empty folder with --output-dir"


def write_package(
    language: str, archive: Archive, out: Path, *, harness_version: str, cache: Cache, progress: Progress
) -> list[Path]:
    """Write a package for C, Kotlin or Flutter to ``out``, and return its files; a whole one replaces an older one.

    Raises NotAPackage, and what building the library raises.
    """

    def fill(folder: Path) -> None:
        flutter = language == FLUTTER
        library = build_library(archive, cache=cache, progress=progress, stripped=True, flutter=flutter)
        # Dart's own code is in the plugin's lib.
        copy(library, folder / ("libraries" if flutter else "lib") / library.name)
        copy(archive.folder / FILE_NAME, folder / FILE_NAME)
        for name, target in _plugin() if flutter else BINDINGS[language].items():
            copy(binding(name), folder / target)

    return fill_package(language, archive, out, fill, harness_version=harness_version)


def _plugin() -> Iterator[tuple[str, str]]:
    """Yield the files of the Flutter plugin as ``BINDINGS`` has those of other languages."""
    plugin = binding(FLUTTER)
    for path in sorted(path for path in plugin.rglob("*") if path.is_file()):
        name = path.relative_to(plugin)
        if name.parts[0] not in NOT_PACKAGED:
            yield f"{FLUTTER}/{name.as_posix()}", name.as_posix()


def fill_package(
    language: str, archive: Archive, out: Path, fill: Callable[[Path], None], *, harness_version: str
) -> list[Path]:
    """Have a folder filled, add licences and a manifest, and put it to ``out``; return its files.

    Raises NotAPackage, and what ``fill`` raises.
    """
    if out.exists() and not ((out / MANIFEST).is_file() or (out.is_dir() and not any(out.iterdir()))):
        raise NotAPackage(f"{out} is no package of `harness package`")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work:
        folder = Path(work) / "package"
        folder.mkdir()
        fill(folder)
        for name in LICENCES:
            copy(licence(name), folder / "licences" / name)
        manifest = make_manifest(folder, archive, package=language, harness_version=harness_version)
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if out.exists():
            out.rename(Path(work) / "older")
        folder.rename(out)
    return sorted(path for path in out.rglob("*") if path.is_file())


def binding(name: str) -> Path:
    """Return a file of ``bindings``."""
    return workspace_root() / "bindings" / name


def licence(name: str) -> Path:
    """Return a licence text of the harness: of the checkout, or of the installed package. Raises ToolchainMissing."""
    beside = workspace_root() / name
    if beside.is_file():
        return beside
    files = importlib.metadata.files(DISTRIBUTION) or []
    found = next((Path(str(one.locate())) for one in files if one.name == name and ".dist-info" in str(one)), None)
    if found is None or not found.is_file():
        raise ToolchainMissing(f"the installed package lacks {name}", cure=f"install it again: {install_command()}")
    return found


def copy(source: Path, target: Path) -> None:
    """Copy a file, with the folders that it needs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
