"""Small Mach-O programs for tests: C compiled by zig and linked by the same linker and stubs as the runner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.core.cache import Cache
from harness.native.compilers import package_folder
from harness.native.ios import tools
from harness.native.ios.tools import ZIG_TRIPLES, AppleTools, Slice


def quiet(_text: str) -> None:
    pass


def llvm_tools(which: Slice, cache: Cache) -> AppleTools:
    """LLVM's, on a Mac with Xcode, too."""
    return tools.llvm_tools(which, cache, quiet)


def compile_c(source: str, target: Path, which: Slice, cache: Cache, *flags: str) -> Path:
    target.with_suffix(".c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", ZIG_TRIPLES[which], "-O1", "-g0", "-fno-sanitize=all"]
    command += ["-isystem", str(package_folder("ziglang") / "lib/libc/include/any-darwin-any")]
    command += [*flags, "-c", str(target.with_suffix(".c")), "-o", str(target)]
    subprocess.run(command, check=True, env=os.environ | llvm_tools(which, cache).cxx.environment)
    return target


def link(
    objects: list[Path], target: Path, which: Slice, cache: Cache, *flags: str, signed: bool = True
) -> subprocess.CompletedProcess[str]:
    """The linker's end; the program is at ``target`` if it ended well."""
    llvm = llvm_tools(which, cache)
    own = [flag for flag in llvm.link_flags if signed or flag != "-adhoc_codesign"]
    own += [] if signed else ["-no_adhoc_codesign"]
    command = [str(llvm.linker), "-arch", "arm64", *own, "-syslibroot", llvm.environment["SDKROOT"], "-lSystem"]
    command += [*flags, *map(str, objects), "-o", str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def program(folder: Path, which: Slice, cache: Cache, *, signed: bool = True) -> Path:
    """An executable that does nothing."""
    made = compile_c("int main(void) { return 0; }\n", folder / "main.o", which, cache)
    done = link([made], folder / "program", which, cache, signed=signed)
    assert done.returncode == 0, done.stderr
    return folder / "program"
