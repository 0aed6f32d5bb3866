"""Write bindings/ from rust/mobile: Kotlin and Swift by UniFFI, a C header by cbindgen.

python tools/write_bindings.py            # writes the files (make bindings)
python tools/write_bindings.py --check    # exit status 1 if the committed ones differ

The library that UniFFI reads and the program that writes the files are compiled into the harness's cache. The first
time takes two minutes. Cargo downloads the crates that it does not have yet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.core.cache import cache_root
from harness.native.cargo_environment import cargo_environment

ROOT = Path(__file__).resolve().parent.parent
CRATE = ROOT / "rust/mobile"
BINDINGS = ROOT / "bindings"
GENERATED = [
    "kotlin/charsiug2p/charsiug2p.kt",
    "swift/Charsiug2p.swift",
    "swift/Charsiug2pFFI.h",
    "swift/Charsiug2pFFI.modulemap",
    "c/charsiug2p.h",
]


class NotWritten(Exception):
    """A program that writes the files failed."""


def cargo(*arguments: str, target: str, offline: bool) -> Path:
    """Run cargo with an output folder in the cache, and return the folder of what it made; raises NotWritten."""
    folder = cache_root() / "cargo" / target
    command = ["cargo", *arguments, "--quiet", "--locked", *(["--offline"] if offline else [])]
    done = subprocess.run(
        [*command, "--target-dir", str(folder)],
        cwd=ROOT,
        env=cargo_environment(),
        stderr=subprocess.PIPE,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        raise NotWritten(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return folder / "debug"


def generator(*, offline: bool) -> Path:
    """Return the program that writes the files, compiled if it is not there; raises NotWritten."""
    manifest = ["--manifest-path", str(ROOT / "tools/bindings/Cargo.toml")]
    return cargo("build", *manifest, target="bindings", offline=offline) / "write-bindings"


def write(out: Path, *, offline: bool = False) -> None:
    """Write the generated files below a folder; raises NotWritten."""
    library = ["rustc", "--package", "charsiug2p-mobile", "--lib", "--crate-type", "cdylib"]
    suffix = "dylib" if sys.platform == "darwin" else "so"
    built = cargo(*library, target="bindings-library", offline=offline) / f"libcharsiug2p_mobile.{suffix}"
    program = generator(offline=offline)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "c").mkdir()
        done = subprocess.run([program, CRATE, built, folder], stderr=subprocess.PIPE, check=False, encoding="utf-8")
        if done.returncode != 0:
            raise NotWritten(done.stderr.strip())
        for name in GENERATED:
            text = (Path(folder) / name).read_text(encoding="utf-8")
            # The generators leave blanks at the ends of lines, which editors and git complain about.
            lines = [line.rstrip() for line in text.rstrip().splitlines()]
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
            partial.replace(target)


def differences(*, offline: bool = False) -> Iterator[str]:
    """Return the names of the committed files that are not what would be written now; raises NotWritten."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), offline=offline)
        for name in GENERATED:
            committed = BINDINGS / name
            if not committed.is_file() or committed.read_bytes() != (Path(folder) / name).read_bytes():
                yield name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file differs")
    try:
        if not parser.parse_args().check:
            write(BINDINGS)
            return 0
        found = list(differences())
    except NotWritten as error:
        print(f"write_bindings: {error}", file=sys.stderr)
        return 3
    for name in found:
        print(f"bindings/{name} differs\n  → make bindings", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
