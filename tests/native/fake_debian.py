"""Stand-ins for Debian's mirror and its Rust: packages made with dpkg-deb whose cargo writes what a test expects.

Run as a program (``python -m tests.native.fake_debian CACHE PACKAGES TARGET``), it installs and prints the toolchain's
version, so that a test can have it killed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.core.cache import Cache
from harness.native.toolchain import debian

TARGET = "aarch64-unknown-linux-musl"

CARGO = """#!/bin/sh
# Counts its runs; leaves what cargo leaves. While the file `kill-cargo` is there, its first run kills the harness.
set -e
log={folder}
echo "$@" >> "$log/cargo-runs"
out="$CARGO_TARGET_DIR/{target}/release/deps"
mkdir -p "$out"
test -f "$CARGO_TARGET_DIR/begun" && echo resumed >> "$log/cargo-runs"
touch "$CARGO_TARGET_DIR/begun"
if [ -f "$log/kill-cargo" ]; then rm "$log/kill-cargo"; kill -9 $PPID; exit 1; fi
if [ -f "$log/hang-cargo" ]; then echo $$ > "$log/cargo-pid"; sleep 600; fi
if [ -f "$log/fail-cargo" ]; then echo "error: no such crate"; exit 101; fi
echo "   Compiling core v0.0.0"
echo std > "$out/libstd-1.rlib"
echo empty > "$out/libempty-1.rlib"
"""


class FakePackages:
    """Of DebianPackages what the toolchain uses; ``folder`` is set by :func:`use`."""

    folder = Path()

    def __init__(self, *_arguments: object, **_named: object) -> None:
        pass

    def depends(self, _names: object, **_named: object) -> list[str]:
        return ["gcc", "libc6", "libneeded-2.9", "rustc-web"]

    def fetch(self, names: list[str], *, with_dependencies: bool = False, **_named: object) -> list[Path]:
        assert with_dependencies == (list(names) == ["libneeded-2.9"])
        return sorted(self.folder.glob("*lib*.deb" if with_dependencies else "rust*.deb"))


def make_packages(folder: Path, version: str = "1.0-1") -> None:
    """A compiler with its library's sources and two shared libraries, one of them the machine's own."""
    for old in folder.glob("*.deb"):
        old.unlink()
    contents = {
        "rustc-web": {
            "usr/bin/rustc": "#!/bin/sh\necho rustc 1.0\n",
            "usr/bin/cargo": CARGO.format(folder=folder, target=TARGET),
            "usr/src/rustc-1.0/library/vendor/x": "",
            "usr/src/rustc-1.0/compiler/large": "",
        },
        "libneeded-2.9": {"usr/lib/libneeded.so": version},
        "libc6": {"usr/lib/libc.so.6": "not ours"},
    }
    for package, files in contents.items():
        tree = folder / "tree" / package
        for name, text in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        (tree / "DEBIAN").mkdir(exist_ok=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.test>\nDescription: a\n"
        )
        made = folder / f"{package}_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--build", str(tree), str(made)], check=True, capture_output=True)


def use(folder: Path) -> None:
    FakePackages.folder = folder
    vars(debian)["DebianPackages"] = FakePackages


if __name__ == "__main__":
    use(Path(sys.argv[2]))
    print(debian.DebianRust(Cache(Path(sys.argv[1])), lambda _text: None).install(sys.argv[3]).version)
