"""Build the app's own library: one activity in C, against the names that it needs of Android's libraries.

The NDK is on no registry, and without its headers zig has no C library for Android. So the activity declares what it
calls (``activity/ndk.h``), and is linked against stubs: libraries without code that have the names of bionic's
functions (``activity/stubs``). The linker refuses any other name. Only a phone can prove that the lists are right.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from harness.core.cache import Cache, content_key, hash_sources
from harness.native.android.errors import AppNotBuilt
from harness.native.compilers import identity, zig_environment
from harness.native.process import ToolFailed, run_tool

SOURCES = Path(__file__).with_name("activity")
LIBRARY = "libharness_app.so"
ABIS = {"arm64-v8a": "aarch64-linux-android", "x86_64": "x86_64-linux-android"}
"""Android's ABIs that a runner is built for, and the compiler's names of them."""
PAGE_BYTES = 16384
"""The page size of the newest phones; Android 15 and newer refuse libraries whose segments are aligned to less."""
COMPILE_DEADLINE_SECONDS = 1800.0
"""Zig builds its C library first, once for each target: a CPU minute, and many times that on a busy machine."""
_COMPILE = ("-c", "-O2", "-std=c11", "-ffreestanding", "-fPIC", "-Wall", "-Wextra", "-Werror")
_HIDE = ("-fvisibility=hidden", "-fno-stack-protector")
_LINK = ("-shared", "--build-id=none", "--hash-style=both", "-z", "now", "-z", "relro", "-z", "defs", "--strip-all")


def activity_library(abi: str, cache: Cache) -> Path:
    """Return the library for one of ABIS, from the cache or built now; raises AppNotBuilt."""
    fields = {
        "abi": abi,
        "sources": hash_sources([path for path in SOURCES.rglob("*") if path.is_file()], SOURCES),
        "zig": identity(["ziglang"]),
        "flags": [*_COMPILE, *_HIDE, *_LINK, PAGE_BYTES],
    }

    def build(folder: Path) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="harness-activity-") as work:
                _build(Path(work), folder / LIBRARY, ABIS[abi], cache)
        except ToolFailed as error:
            raise AppNotBuilt(f"the app's library cannot be built: {error}") from error

    return cache.fetch("android-activity", content_key(fields), build) / LIBRARY


def _build(work: Path, target: Path, triple: str, cache: Cache) -> None:
    stubs = [_stub(path, work, triple, cache) for path in sorted((SOURCES / "stubs").glob("*.txt"))]
    compiled = work / "activity.o"
    _zig(["cc", "-target", triple, *_COMPILE, *_HIDE, str(SOURCES / "activity.c"), "-o", str(compiled)], cache)
    pages = ["-z", f"max-page-size={PAGE_BYTES}"]
    _zig(["ld.lld", *_LINK, *pages, "-soname", LIBRARY, str(compiled), *stubs, "-o", str(target)], cache)


def stub_names(path: Path) -> list[str]:
    """Return the symbols of a list: one per line, without comments."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def _stub(names: Path, work: Path, triple: str, cache: Cache) -> str:
    """Make a library that has these symbols and no code; return its path."""
    source, compiled, library = (work / f"{names.stem}{suffix}" for suffix in (".c", ".o", ".so"))
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in stub_names(names)), encoding="utf-8")
    _zig(["cc", "-target", triple, "-c", "-ffreestanding", "-fPIC", "-w", str(source), "-o", str(compiled)], cache)
    _zig(["ld.lld", "-shared", "-soname", library.name, str(compiled), "-o", str(library)], cache)
    return str(library)


def _zig(arguments: list[str], cache: Cache) -> None:
    environment = {**os.environ, **zig_environment(cache)}
    run_tool([sys.executable, "-m", "ziglang", *arguments], deadline=COMPILE_DEADLINE_SECONDS, environment=environment)
