"""The tool that compares the archives of two checkouts, on checkouts whose ``harness`` writes what the test says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools/archive_hashes.py"
HARNESS = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--output-dir") + 1])
folder.mkdir(parents=True)
(folder / "lib.a").write_bytes({archive!r} + " ".join(sys.argv[2:-2]).encode())
(folder / "system_lib_metadata.json").write_text(json.dumps({metadata!r} | {{"archive_sha256": "its own"}}))
assert not list(pathlib.Path(os.environ["HARNESS_CACHE_DIR"]).glob("*"))
"""


def checkout(folder: Path, archive: bytes = b"code", **metadata: int) -> Path:
    """A checkout with the tool and such a compiler."""
    program = folder / ".venv/bin/harness"
    program.parent.mkdir(parents=True)
    program.write_text(HARNESS.format(python=sys.executable, archive=archive, metadata=metadata))
    program.chmod(0o755)
    (folder / "tools").mkdir()
    shutil.copy(TOOL, folder / "tools")
    return folder


def run(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "tools/archive_hashes.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_one_checkouts_hashes(tmp_path: Path) -> None:
    done = run(checkout(tmp_path / "here"), "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("  ")[::-1] for line in done.stdout.splitlines())
    assert len(lines) == 20
    assert len(set(lines.values())) == 11, "ten archives by ten sets of options, and one metadata"
    archive = tmp_path / "kept/batch-4/lib.a"
    assert archive.read_bytes() == b"code--batch-size 4"
    hashed = subprocess.run(["sha256sum", archive], capture_output=True, text=True, check=True)
    assert hashed.stdout.split()[0] == lines["batch-4/lib.a"]


def test_two_checkouts_that_make_the_same(tmp_path: Path) -> None:
    done = run(checkout(tmp_path / "here"), "--tree", str(checkout(tmp_path / "there")), "--only", "int8")
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[1].partition("/")[0] for line in done.stdout.splitlines()] == ["before"] * 2 + [
        "after"
    ] * 2
    assert "all are equal" in done.stderr


def test_what_differs_is_named(tmp_path: Path) -> None:
    there = checkout(tmp_path / "there")
    done = run(checkout(tmp_path / "other", b"other"), "--tree", str(there), "--only", "int8")
    assert done.returncode == 1
    assert "int8/lib.a differs" in done.stderr
    assert "json differs" not in done.stderr
    done = run(checkout(tmp_path / "more", batch_size=2), "--tree", str(there), "--only", "int8")
    assert done.returncode == 1
    assert "int8/system_lib_metadata.json differs" in done.stderr


def test_a_checkout_that_cannot_compile_is_named(tmp_path: Path) -> None:
    here = checkout(tmp_path / "here")
    done = run(here, "--tree", str(tmp_path / "there"))
    assert done.returncode == 2
    assert "run `make setup` there" in done.stderr
    (here / ".venv/bin/harness").write_text("#!/bin/sh\necho no room >&2; exit 3\n")
    done = run(here)
    assert done.returncode == 2
    assert "no room" in done.stderr
