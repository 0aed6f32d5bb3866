"""Fetch what tests would otherwise fetch when they first need it, one part in each call.

`tools/setup-tests` runs the parts at the same time. What is there already is left as it is. After an interruption the
same call goes on: what the harness's cache and uv's hold is whole or absent.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.native.apps.library import BRIDGE_WORKSPACE
from harness.native.ios.lld import debian_lld
from harness.native.ios.rcodesign import find_rcodesign
from harness.native.platforms import IOS_ARM64, IOS_SIMULATOR, STATIC_ARM64, Platform
from harness.native.toolchain import configured_route, find_toolchain, present_toolchain
from harness.virtual.android import provide_packages
from tests.mobile.jars import kotlin_jars
from tests.packaging.installs import PLUGIN, NotInstalled, as_set_up, uv
from tools import write_bindings

ROOT = Path(__file__).parent.parent
PUBLISHED_ONNX = "silero-vad==6.2.3"
"""A package that contains models of ONNX, which nobody here wrote. Nothing of its code is imported."""


def fetch_rust(cache: Cache, progress: Progress) -> None:
    """Bring the crates of the lock file, and Rust with the standard libraries of phones."""
    _run("cargo", "fetch", "--quiet", "--locked")
    for platform in (STATIC_ARM64, IOS_ARM64):
        _fetch_target(platform, cache, progress)


def _fetch_target(platform: Platform, cache: Cache, progress: Progress) -> None:
    if present_toolchain(platform.rust, cache, configured_route()) is None:
        progress(f"Rust for {platform.rust}: 30 MB by rustup; else Debian's, 180 MB for all targets")
    find_toolchain(platform.rust, cache=cache, progress=progress)


def fetch_debian(cache: Cache, progress: Progress) -> None:
    """Bring the programs of the virtual Android device, and LLVM's linker for iPhones' programs: 80 MB and 55 MB."""
    provide_packages(cache, progress)
    debian_lld(cache, progress)


def fetch_python(_cache: Cache, progress: Progress) -> None:
    """Bring the packages that tests install into environments of their own, into uv's cache."""
    with tempfile.TemporaryDirectory() as folder:
        install = ["pip", "install", "--quiet", "--target", f"{folder}/packages", *as_set_up(Path(folder))]
        install += [f"{ROOT}[compile]", PLUGIN]
        models = ["pip", "install", "--quiet", "--no-deps", "--target", f"{folder}/models", PUBLISHED_ONNX]
        try:
            uv(*install, "--offline")
            uv(*models, "--offline")
        except NotInstalled:
            progress("fetching the packages that tests install")
            uv(*install)
            uv(*models)
    _run("tools/test-lowest", "--fetch")


def fetch_bindings(cache: Cache, _progress: Progress) -> None:
    """Bring Kotlin's compiler and Flutter's bridge: 80 MB."""
    kotlin_jars(cache)
    _run("cargo", "fetch", "--locked", "--quiet", "--manifest-path", f"{ROOT}/{BRIDGE_WORKSPACE}/Cargo.toml")


def fetch_thorough(cache: Cache, progress: Progress) -> None:
    """Bring what only thorough tests need: Rust for the iPhone's simulator, and two programs, compiled from crates.

    One signs iPhones' apps with a certificate, the other writes bindings. Both take 4 CPU minutes.
    """
    _fetch_target(IOS_SIMULATOR, cache, progress)
    find_rcodesign(cache, progress)
    progress("compiling the program that writes the bindings, unless it is there")
    try:
        write_bindings.generator(offline=False)
    except write_bindings.NotWritten as error:
        raise NotFetched(str(error)) from error


PARTS: dict[str, Callable[[Cache, Progress], None]] = {
    "rust": fetch_rust,
    "debian": fetch_debian,
    "python": fetch_python,
    "bindings": fetch_bindings,
    "thorough": fetch_thorough,
}


class NotFetched(HarnessError):
    """A program that fetches something failed."""

    cure = "see that this machine reaches its package registries, and run the same command again"


def _run(*command: str) -> None:
    """Run a program in the checkout; raises NotFetched."""
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, check=False, encoding="utf-8", errors="replace")
    if done.returncode != 0:
        raise NotFetched(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    part: str = parser.parse_args().part

    def note(text: str) -> None:
        print(f"setup-tests: {part}: {text}", flush=True)

    try:
        PARTS[part](Cache(notice=note), note)
    except HarnessError as error:
        print(f"setup-tests: {part}: {error}", file=sys.stderr, flush=True)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
