"""Installs the made-up toolchain on ever larger disks, in a mount namespace of its own, and prints how each ends.

python -m tests.native.full_disks DISK PACKAGES: a line of JSON for each number of files that the disk has room for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.core.cache import Cache, DiskFull
from harness.native.toolchain import debian
from tests.native.fake_debian import TARGET, use

ROOM = (*range(2, 60, 3), 200)


def main() -> None:
    disk, packages = Path(sys.argv[1]), Path(sys.argv[2])
    use(packages)
    for files in ROOM:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,nr_inodes={files}", "tmpfs", str(disk)], check=True)
        try:
            print(json.dumps({"files": files, **attempt(disk)}), flush=True)
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def attempt(disk: Path) -> dict[str, object]:
    """Install once on a disk that may be too small; then make room and install again."""
    cache = Cache(disk / "cache")
    rust = debian.DebianRust(cache, lambda _text: None)
    error = cure = ""
    try:
        rust.install(TARGET)
    except DiskFull as full:
        error, cure = Exception.__str__(full), full.cure
    kept = [path.name for path in disk.rglob("*") if path.suffix in (".partial", ".work") or ".json." in path.name]
    subprocess.run(["mount", "-o", "remount,nr_inodes=400", str(disk)], check=True)
    again = debian.DebianRust(cache, lambda _text: None).install(TARGET)
    return {"error": error, "cure": cure, "half_made": kept, "again": again.sysroot is not None}


if __name__ == "__main__":
    main()
