"""Name the files of a run, nightly run or baseline that are uploaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_PASSING = re.compile(r"\..*|runners-.*")
"""Files and folders that are being written, and copies of runners that a nightly run makes for itself."""


def files_of(folder: Path) -> dict[str, Path]:
    """Return the files of a run's folder by their names in the store, with slashes."""
    return dict(sorted(_below(folder, "")))


def file_state(path: Path) -> str:
    """Return a text that differs once the file has been written to."""
    found = path.stat()
    return f"{found.st_size}.{found.st_mtime_ns}"


def _below(folder: Path, before: str) -> Iterator[tuple[str, Path]]:
    for path in folder.iterdir():
        if _PASSING.fullmatch(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _below(path, f"{before}{path.name}/")
        elif path.is_file():
            yield f"{before}{path.name}", path
