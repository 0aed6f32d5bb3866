"""Compile TVM's runtime as two static libraries from the sources inside the wheels, without a TVM checkout.

``libtvm_ffi.a`` and ``libtvm_runtime.a`` contain what a linked Relax model needs on a CPU. They do not contain what
only compilers and Python need (comparing, rewriting and serializing graphs), which would add half a megabyte to every
app. This machine's C++ compiler makes them for this machine, because they share its standard library with the Rust
binary. The NDK makes them for bionic, and zig for any other target. ``patches.py`` describes the changes in the
sources.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.cache import Cache, content_key, hash_sources
from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.core.installation import install_cure, package_version
from harness.core.progress import Progress
from harness.native.compilers import HOST, CxxCompiler, cxx_compiler, package_folder
from harness.native.patches import HEADER_PATCHES, SOURCE_PATCHES, Patch

_FFI = """
    backtrace object error function tensor dtype container init_once custom_allocator extra/module
    extra/library_module extra/library_module_system_lib extra/library_module_dynamic_lib extra/env_context
    extra/env_c_api
"""
_RUNTIME = """
    const_loader_module cpu_device_api device_api logging module tensor workspace_pool memory/memory_manager
    vm/builtin vm/bytecode vm/executable vm/vm
"""
FFI_SOURCES = tuple(f"{name}.cc" for name in _FFI.split())
RUNTIME_SOURCES = tuple(f"{name}.cc" for name in _RUNTIME.split())
FLAGS = (
    "-std=c++20",
    "-g0",
    "-fPIC",
    "-ffunction-sections",
    "-fdata-sections",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-DTVM_FFI_CMAKE_LITTLE_ENDIAN=1",
    "-DTVM_FFI_USE_LIBBACKTRACE=0",
    "-DTVM_FFI_BACKTRACE_ON_SEGFAULT=0",
    "-DTVM_LOG_STACK_TRACE=0",
    "-DTVM_FFI_EXPORTS",
    "-DTVM_RUNTIME_EXPORTS",
)
HOT = frozenset(
    f"{name}.cc"
    for name in [
        "object",
        "function",
        "tensor",
        "vm",
        "builtin",
        "workspace_pool",
        "memory_manager",
        "cpu_device_api",
    ]
)
"""Files of TVM with code that runs at every call. The others (loading, errors) are optimised for size."""
UNREGISTERED = frozenset(
    f"{name}.cc" for name in ["object", "function", "tensor", "container", "extra/module", "device_api"]
)
"""Files whose global functions only Python calls: reflection, containers, modules, streams of other devices.

Each function that is registered costs a kilobyte and more of conversions in every app, and a third of a second of the
compiler. ``shims/harness/functions.cc`` registers the four of them that Rust calls.
"""
OPTIMIZATION = {"fast": "-O2", "small": "-Os"}
_NOT_REGISTERED = """\
#pragma push_macro("TVM_FFI_STATIC_INIT_BLOCK")
#undef TVM_FFI_STATIC_INIT_BLOCK
#define TVM_FFI_STATIC_INIT_BLOCK() [[maybe_unused]] static void TVM_FFI_STR_CONCAT(NotRegistered, __COUNTER__)()
{}#pragma pop_macro("TVM_FFI_STATIC_INIT_BLOCK")
"""
"""A function that nobody calls: the compiler reads the registrations, and makes nothing of them."""
SHIMS = Path(__file__).parent / "shims"
OBJECT_POOL = SHIMS / "harness/object_pool.cc"
THREAD_POOL = SHIMS / "harness/thread_pool.cc"
OURS = {
    "ffi_small": "harness/functions.cc",
    "runtime_fast": "harness/parallel.cc",
    "runtime_small": "harness/files.cc",
}
"""Our own sources that include as much of TVM's headers as its files do, and are compiled together with them."""
COMPILE_DEADLINE_SECONDS = 1800.0
WRONG_VERSION = "install the versions that belong together: {}"


class RuntimeBuildFailed(HarnessError):
    """A source of the runtime does not compile."""

    cure = "the compiler's message is above; `harness doctor` checks compilers and versions"


@dataclass(frozen=True)
class RuntimeLibs:
    """Hold the folder of the two static libraries."""

    folder: Path

    @property
    def ffi(self) -> Path:
        return self.folder / "libtvm_ffi.a"

    @property
    def runtime(self) -> Path:
        return self.folder / "libtvm_runtime.a"


def build_runtime(
    target: str = HOST, *, cache: Cache, progress: Progress, compiler: CxxCompiler | None = None
) -> RuntimeLibs:
    """Return the runtime for a target, from the cache or built now.

    ``target`` is ``host``, ``aarch64-linux-android`` (with the NDK) or one of zig's triples (``aarch64-linux-musl``).
    ``compiler`` replaces the target's usual one. A build takes about a CPU minute. Raises
    ToolchainMissing or RuntimeBuildFailed.
    """
    compiler = compiler or cxx_compiler(target, cache)
    fields = {
        "target": target,
        "compiler": compiler.identity,
        "flags": FLAGS,
        "sources": [*FFI_SOURCES, *RUNTIME_SOURCES],
        "hot": sorted(HOT),
        "unregistered": sorted(UNREGISTERED),
        "optimization": OPTIMIZATION,
        "patches": [asdict(patch) for patch in (*HEADER_PATCHES, *SOURCE_PATCHES)],
        "shims": hash_sources((p for p in SHIMS.rglob("*") if p.suffix in (".h", ".cc")), SHIMS),
        "tvm": package_version("apache-tvm"),
        "tvm_ffi": package_version("apache-tvm-ffi"),
    }

    def build(folder: Path) -> None:
        _Build(compiler, folder, progress).run()

    return RuntimeLibs(cache.fetch("runtimes", content_key(fields), build))


class _Build:
    """Make one build in an entry's folder; objects and copied sources are removed at its end."""

    def __init__(self, compiler: CxxCompiler, folder: Path, progress: Progress) -> None:
        self.compiler, self.folder, self.progress = compiler, folder, progress
        self.work = folder / "work"
        self.tvm, self.ffi = package_folder("tvm"), package_folder("tvm_ffi")

    def run(self) -> None:
        self._lay_out()
        sources = {
            "libtvm_ffi.a": [OBJECT_POOL, *self._units("ffi", "src/ffi", FFI_SOURCES)],
            "libtvm_runtime.a": [THREAD_POOL, *self._units("runtime", "src/runtime", RUNTIME_SOURCES)],
        }
        objects = {path: self.work / f"{path.stem}.o" for paths in sources.values() for path in paths}
        self.progress("compiling TVM's runtime: about a CPU minute, once")
        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            jobs = [pool.submit(self._compile, source, target) for source, target in objects.items()]
            try:
                for done, job in enumerate(concurrent.futures.as_completed(jobs), start=1):
                    job.result()
                    self.progress(f"TVM runtime: {done} of {len(jobs)} units compiled")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for library, paths in sources.items():
            self._archive(self.folder / library, [objects[path] for path in paths])
        shutil.rmtree(self.work)

    def _units(self, library: str, folder: str, names: Sequence[str]) -> list[Path]:
        """Write sources that include a library's files, one for each optimization.

        Most of the time goes into headers and templates that all files share, so that files that are compiled together
        take less than half of it.
        """
        units = []
        for optimization in OPTIMIZATION:
            chosen = [name for name in names if (Path(name).name in HOT) == (optimization == "fast")]
            unit = self.work / f"{library}_{optimization}.cc"
            ours = OURS.get(unit.stem)
            lines = ["#include <tvm/ffi/base_details.h>\n"]
            for name in chosen:
                include = f'#include "{folder}/{name}"\n'
                lines.append(_NOT_REGISTERED.format(include) if name in UNREGISTERED else include)
            if ours is not None:
                lines.append(f"#include <{ours}>\n")
            unit.write_text("".join(lines), encoding="utf-8")
            units.append(unit)
        return units

    def _lay_out(self) -> None:
        """Put the runtime's sources where their relative includes reach our shim headers, and patch them."""
        shutil.copytree(self.tvm / "src/runtime", self.work / "src/runtime")
        shutil.copytree(SHIMS / "support", self.work / "src/support")
        shutil.copytree(SHIMS / "3rdparty", self.work / "3rdparty")
        self._patch(SOURCE_PATCHES, self.work / "src/runtime", self.work / "src/runtime")
        self._patch(HEADER_PATCHES, self.ffi / "include", self.work / "include")

    def _patch(self, patches: Sequence[Patch], source: Path, target: Path) -> None:
        for path in {patch.path for patch in patches}:
            text = (source / path).read_text(encoding="utf-8")
            try:
                for patch in patches:
                    text = patch.apply(text) if patch.path == path else text
            except ValueError as error:
                raise RuntimeBuildFailed(
                    f"cannot patch TVM's sources: {error}", cure=WRONG_VERSION.format(install_cure("compile"))
                ) from error
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")

    def _compile(self, source: Path, target: Path) -> None:
        folders = (
            self.ffi,
            self.work / "include",
            self.ffi / "include",
            self.ffi / "3rdparty/dlpack/include",
            self.tvm / "include",
            SHIMS,
            SHIMS / "3rdparty/compiler-rt",
        )
        includes = [f"-I{folder}" for folder in folders]
        optimize = OPTIMIZATION["small" if source.stem.endswith("_small") else "fast"]
        command = [*self.compiler.command, *FLAGS, optimize, *includes, "-c", str(source), "-o", str(target)]
        self._run(command, f"compile {source.name}")

    def _archive(self, library: Path, objects: list[Path]) -> None:
        self._run(
            [sys.executable, "-m", "ziglang", "ar", "rcsD", str(library), *map(str, objects)], f"write {library.name}"
        )

    def _run(self, command: list[str], what: str) -> None:
        try:
            done = run_command(command, deadline=COMPILE_DEADLINE_SECONDS, env=os.environ | self.compiler.environment)
        except subprocess.TimeoutExpired as error:
            raise RuntimeBuildFailed(f"cannot {what}: no end after {COMPILE_DEADLINE_SECONDS:.0f} s") from error
        if done.returncode != 0:
            raise RuntimeBuildFailed(f"cannot {what}:\n{done.stderr.strip()[-2000:]}")
