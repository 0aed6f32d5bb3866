"""The reference of the Rust crates: a list from their manifests, and what ``cargo doc`` wrote, if it was run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Python 3.10 has no tomllib; there pytest brings tomli.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).resolve().parents[2]
PAGE = "reference/rust-api.md"
BUILT = ROOT / "target/doc"
FOLDER = "reference/rust"


def pages() -> dict[str, str]:
    """Return the page by its path in docs."""
    return {PAGE: "\n".join(_page()) + "\n"}


def built() -> dict[str, Path]:
    """Return the files that ``cargo doc`` wrote, by their path in docs."""
    if not is_built():
        return {}
    files = (path for path in sorted(BUILT.rglob("*")) if path.is_file() and path.name != ".lock")
    return {f"{FOLDER}/{path.relative_to(BUILT).as_posix()}": path for path in files}


def is_built() -> bool:
    """Return whether ``cargo doc`` has written the pages of every library."""
    return all((BUILT / one["target"] / "index.html").is_file() for one in crates() if one["target"])


def crates() -> list[dict[str, Any]]:
    """Return the packages of the workspace, as their manifests describe them, each with the library that it may be."""
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]
    manifests = [path for member in workspace["members"] for path in sorted(ROOT.glob(f"{member}/Cargo.toml"))]
    found = []
    for path in manifests:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        library = path.parent / "src/lib.rs"
        target = manifest.get("lib", {}).get("name") or manifest["package"]["name"].replace("-", "_")
        folder = path.parent.relative_to(ROOT).as_posix()
        found.append({**manifest["package"], "folder": folder, "target": target if library.is_file() else None})
    return found


def _page() -> Iterator[str]:
    yield from ["# Rust", "", "[The Rust crates](../rust.md) explains how an app uses them.", ""]
    if not is_built():
        yield "`make docs-rust` has `cargo doc` document every item; the next `make docs` puts that here."
        yield ""
    yield from ["| Crate | Folder | What it is |", "|---|---|---|"]
    for crate in crates():
        name = f"`{crate['name']}`"
        shown = f"[{name}](rust/{crate['target']}/index.html)" if crate["target"] and is_built() else name
        yield f"| {shown} | `{crate['folder']}` | {crate.get('description', '')} |"
