"""Compile a fixed set of archives and print their hashes; with --tree, those of another checkout beside them.

python tools/archive_hashes.py                  # this checkout: "sha256  name" lines
python tools/archive_hashes.py --tree ../old    # both checkouts, and what differs; exit status 1 if anything does
python tools/archive_hashes.py --only int8 --keep build/hashes

A change that should not touch the compiler's output leaves every line as it is. Each checkout compiles with the
packages of its own .venv (`make setup`), by `harness compile`, into a cache of its own that is removed at the end: some
minutes of one core for each. A line for system_lib_metadata.json hashes it without the archive's hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHIVES = {
    "fp32": [],
    "fp16": ["--precision", "fp16"],
    "int8": ["--precision", "int8"],
    "no-kv-cache": ["--no-kv-cache"],
    "batch-4": ["--batch-size", "4"],
    "android-arm64": ["--target", "android-arm64"],
    "ios-arm64": ["--target", "ios-arm64"],
    "detector": ["--models", "detector"],
    "bert": ["--models", "bert"],
    "three-models": ["--models", "g2p", "--models", "detector", "--models", "bert"],
}
"""The options of `harness compile` for each archive."""
METADATA, HASH_KEY = "system_lib_metadata.json", "archive_sha256"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, help="another checkout to compare this one with")
    parser.add_argument("--only", choices=ARCHIVES, action="append", help="this archive alone; may be repeated")
    parser.add_argument("--keep", type=Path, help="keep the archives in this folder")
    arguments = parser.parse_args()
    trees = {"": ROOT} if arguments.tree is None else {"before/": arguments.tree.resolve(), "after/": ROOT}
    different = []
    with tempfile.TemporaryDirectory(prefix="harness-hashes-") as scratch:
        kept = (arguments.keep or Path(scratch, "archives")).resolve()
        for name in arguments.only or ARCHIVES:
            found = []
            for side, tree in trees.items():
                folder = kept / side / name
                compile_archive(tree, name, folder, Path(scratch, "cache", side))
                found.append({f"{name}/{file}": digest for file, digest in hashes(folder)})
                for file, digest in found[-1].items():
                    print(f"{digest}  {side}{file}", flush=True)
            different += sorted({file for file, _ in found[0].items() ^ found[-1].items()})
    for file in different:
        print(f"{file} differs", file=sys.stderr)
    if arguments.tree and not different:
        print("all are equal", file=sys.stderr)
    return 1 if different else 0


def compile_archive(tree: Path, name: str, folder: Path, cache: Path) -> None:
    """Compile one archive into the folder. Raises SystemExit if the checkout cannot."""
    print(f"{name} in {tree} ...", file=sys.stderr)
    began = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HARNESS_"))}
    try:
        subprocess.run(
            [tree / ".venv/bin/harness", "compile", *ARCHIVES[name], "--output-dir", folder],
            cwd=tree,
            env=environment | {"HARNESS_CACHE_DIR": str(cache)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    except FileNotFoundError:
        print(f"{tree} has no .venv/bin/harness\n  → run `make setup` there", file=sys.stderr)
        raise SystemExit(2) from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(2) from error
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def hashes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the archive's file name and hash, and those of the metadata beside it."""
    for archive in sorted(folder.glob("*.a")):
        yield archive.name, hashlib.sha256(archive.read_bytes()).hexdigest()
    metadata = json.loads((folder / METADATA).read_bytes())
    del metadata[HASH_KEY]
    yield METADATA, hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
