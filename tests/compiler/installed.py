"""Packages that extend the compiler, as pip would leave them in a folder of the path."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, module: str, text: str, entry_points: str) -> None:
    """Install a package of one module with these entry points."""
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    facts = folder / f"{module}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(entry_points)
