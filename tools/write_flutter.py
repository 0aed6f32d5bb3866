"""Write what flutter_rust_bridge generates into bindings/flutter: Dart, and the Rust that it calls.

python tools/write_flutter.py            # writes the files (make bindings)
python tools/write_flutter.py --check    # exit status 1 if an input or a file is not what was written last

The generator and cargo-expand, which it calls, are compiled into the harness's cache the first time. That takes about
ten minutes, too long for a test. So the hashes of its inputs and of what it wrote are kept, and --check compares them.

The generator does not go on without an answer to `flutter --version`. Formatting, fixes and build_runner are switched
off in its settings, and it calls Flutter for nothing else. Where there is no Flutter, a script answers that question
and fails for any other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.core.cache import cache_root
from harness.native.cargo_environment import cargo_environment

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "bindings/flutter"
SETTINGS = PLUGIN / "flutter_rust_bridge.yaml"
KEPT = PLUGIN / "generated.json"
TOOLS = {"flutter_rust_bridge_codegen": "2.13.0", "cargo-expand": "1.0.127"}
INPUTS = ("flutter_rust_bridge.yaml", "rust/Cargo.toml", "rust/src/api.rs", "rust/src/lib.rs")
OUTPUTS = ("rust/src/frb_generated.rs", "lib/src/rust/**/*.dart")
ANSWER = """#!/bin/sh
[ "$*" = --version ] && exec echo "there is no Flutter"
echo "flutter was called with: $*" >&2
exit 1
"""


class NotWritten(Exception):
    """The generator failed."""


def run(command: list[str], *, folder: Path, environment: dict[str, str]) -> None:
    """Run a command; raises NotWritten."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        raise NotWritten(f"{' '.join(command)} failed:\n{done.stdout.strip()[-4000:]}")


def installed() -> Path:
    """Return the folder of the generator's programs, compiled if they are not there; raises NotWritten."""
    folder = cache_root() / "cargo/flutter-tools"
    for name, version in TOOLS.items():
        command = ["cargo", "install", name, "--version", version, "--locked", "--debug", "--root", str(folder)]
        run([*command, "--quiet"], folder=ROOT, environment=cargo_environment())
    return folder / "bin"


def write() -> None:
    """Write the generated files; raises NotWritten."""
    programs = installed()
    with tempfile.TemporaryDirectory() as folder:
        path = [str(programs), os.environ.get("PATH", os.defpath)]
        if shutil.which("flutter") is None:
            script = Path(folder) / "flutter"
            script.write_text(ANSWER, encoding="utf-8")
            script.chmod(0o755)
            path.append(folder)
        target = {"CARGO_TARGET_DIR": str(cache_root() / "cargo/flutter")}
        environment = cargo_environment() | target | {"PATH": os.pathsep.join(path)}
        command = [str(programs / "flutter_rust_bridge_codegen"), "generate", "--config-file", str(SETTINGS)]
        run([*command, "--skip-fvm-install"], folder=PLUGIN, environment=environment)
    text = json.dumps(hashes(), indent=2) + "\n"
    partial = KEPT.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(KEPT)


def hashes() -> dict[str, str]:
    """Return the hash of each input and of each generated file, by its path in the plugin."""
    paths = [PLUGIN / name for name in INPUTS]
    paths += [path for pattern in OUTPUTS for path in sorted(PLUGIN.glob(pattern))]
    return {path.relative_to(PLUGIN).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def differences() -> Iterator[str]:
    """Return the names of inputs and generated files that are not as they were when the files were written."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    found = hashes()
    yield from (name for name in sorted({*kept, *found}) if kept.get(name) != found.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file differs")
    try:
        if not parser.parse_args().check:
            write()
            return 0
        changed = list(differences())
    except NotWritten as error:
        print(f"write_flutter: {error}", file=sys.stderr)
        return 3
    for name in changed:
        print(f"bindings/flutter/{name} differs\n  → make bindings", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
