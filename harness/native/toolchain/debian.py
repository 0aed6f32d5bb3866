"""Provide Debian's Rust in the user's cache if rustup's servers are out of reach; nothing is installed.

There are three stages, each a cache entry below ``toolchains/`` that is whole or absent: the packages (below
``debian/``, kept by :class:`~harness.core.debian.DebianPackages`), the unpacked compiler, and the standard library of
each target. Debian does not ship the standard libraries, so cargo builds them from Debian's own sources. Keys follow
from the packages' versions; ``debian.json`` names the compiler in use. After an interruption whole stages are used
again, and cargo resumes where it was.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.cache import Cache, DiskFull, content_key, room_for
from harness.core.debian import DebianPackages, unpack
from harness.core.errors import HarnessError
from harness.core.files import replacing
from harness.core.progress import Progress
from harness.native.cargo_environment import cargo_environment, encoded_flags
from harness.native.process import ToolFailed, compiled_crate, run_tool
from harness.native.toolchain.rust import RustToolchain

KIND = "toolchains"
POINTER = "debian.json"
EMPTY_CRATE = "empty"
SUITES = ("security", "updates")
PROGRAMS = ("rustc-web", "cargo-web", "libstd-rust-web-dev", "rust-web-src")
MACHINES_OWN = frozenset({"libc6", "libgcc-s1", "gcc-12-base", "libstdc++6"})
"""Libraries that come with any C++ compiler; a process cannot mix two versions of them."""
STD_DEADLINE_SECONDS = 1800.0
LTO_FLAG = "-Cembed-bitcode=yes"
"""Makes link-time optimisation possible: the runner's release profile optimises across crates, std included."""


class StandardLibraryFailed(HarnessError):
    """Cargo could not build a target's standard library."""

    cure = "its message is above; run `harness toolchain install` again, it resumes where it was"


class _NotThere(Exception):
    """The compiler that the pointer names is missing or damaged."""


@dataclass(frozen=True)
class _Compiler:
    """Hold the pointer's contents: the cache entry's key, and the version of Debian's package."""

    key: str
    version: str


class DebianRust:
    """Manage Debian's compiler and the standard libraries made for it, in ``cache``."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache, self._progress = cache, progress
        self._folder = cache.root / KIND

    def installed(self, triple: str) -> RustToolchain | None:
        """Return the toolchain for a target as it was left, if it is there; nothing is verified."""
        compiler = self._pointer()
        if compiler is None:
            return None
        root, sysroot = self._folder / _root_key(compiler), self._folder / _std_key(compiler, triple)
        return _toolchain(compiler, root, sysroot) if root.is_dir() and sysroot.is_dir() else None

    def remove_superseded(self) -> None:
        """Remove compilers and libraries that belong to other packages than those in use."""
        compiler = self._pointer()
        for path in self._folder.glob("*-*"):
            if compiler and re.match(r"(rust|std)-", path.name) and compiler.key not in path.name:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def verified(self, triple: str) -> RustToolchain:
        """Return the toolchain for a target with every file checked; missing parts are made.

        Raises as ``install`` does.
        """

        def absent(_folder: Path) -> None:
            raise _NotThere

        compiler = self._pointer()
        if compiler is not None:
            try:
                root = self._cache.fetch(KIND, _root_key(compiler), absent)
            except _NotThere:
                pass
            else:
                return self._with_standard_library(compiler, root, triple)
        return self.install(triple)

    def install(self, triple: str) -> RustToolchain:
        """Make the toolchain for a target from the mirror's newest packages.

        Raises PackagesUnavailable, StandardLibraryFailed or DiskFull.
        """
        with room_for(f"Rust for {triple}", self._cache.root):
            return self._install(triple)

    def _install(self, triple: str) -> RustToolchain:
        debs = self._packages()
        names = sorted(path.name for path in debs)
        version = next(name.split("_")[1] for name in names if name.startswith("rustc-web_"))
        compiler = _Compiler(content_key({"packages": names})[:16], version)
        root = self._cache.fetch(KIND, _root_key(compiler), lambda folder: self._unpack(debs, folder))
        self._point_to(compiler)
        return self._with_standard_library(compiler, root, triple)

    def _packages(self) -> list[Path]:
        """Return the packages' files.

        Packages with a version in their name are found through packages that depend on them.
        """
        packages = DebianPackages(self._folder / "debian", progress=self._progress)
        needed = packages.depends(PROGRAMS, suites=SUITES)
        libraries = [name for name in needed if name.startswith("lib") and name not in (*PROGRAMS, *MACHINES_OWN)]
        programs = packages.fetch(PROGRAMS, suites=SUITES)
        brought = packages.fetch(libraries, suites=SUITES, with_dependencies=True)
        return programs + [path for path in brought if path.name.split("_")[0] not in MACHINES_OWN]

    def _unpack(self, debs: list[Path], folder: Path) -> None:
        self._progress(f"unpacking {len(debs)} Debian packages")
        unpack(debs, folder)
        # The compiler's own sources come with the library's, and are larger than all the rest.
        for path in _rust_sources(folder).iterdir():
            if path.name != "library":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _with_standard_library(self, compiler: _Compiler, root: Path, triple: str) -> RustToolchain:
        def build(folder: Path) -> None:
            work = folder.with_suffix(".work")  # beside the entry, so that cargo continues after an interruption
            try:
                self._build_standard_library(_toolchain(compiler, root, None), root, triple, folder, work)
            except (DiskFull, OSError):  # A half-made build would keep a full disk full.
                shutil.rmtree(work, ignore_errors=True)
                raise

        return _toolchain(compiler, root, self._cache.fetch(KIND, _std_key(compiler, triple), build))

    def _build_standard_library(self, rust: RustToolchain, root: Path, triple: str, folder: Path, work: Path) -> None:
        """Build an empty crate with the library as its dependency, and keep the built library."""
        sources = _rust_sources(root)
        (work / "src").mkdir(parents=True, exist_ok=True)
        (work / ".cargo").mkdir(exist_ok=True)
        (work / "src/lib.rs").write_text("", encoding="utf-8")
        (work / "Cargo.toml").write_text(
            f'[package]\nname = "{EMPTY_CRATE}"\nversion = "0.0.0"\nedition = "2021"\n', encoding="utf-8"
        )
        (work / ".cargo/config.toml").write_text(
            '[source.crates-io]\nreplace-with = "vendored"\n'
            f"[source.vendored]\ndirectory = {json.dumps(str(sources / 'library/vendor'))}\n[net]\noffline = true\n",
            encoding="utf-8",
        )
        settings = encoded_flags([LTO_FLAG, f"--remap-path-prefix={sources}=rust"]) | {
            "RUSTC_BOOTSTRAP": "1",  # lets a stable compiler accept -Z
            "CARGO_HOME": str(work / "home"),
            "CARGO_TARGET_DIR": str(work / "target"),
            "CARGO_TERM_COLOR": "never",
        }

        def show_crate(line: str) -> None:
            if crate := compiled_crate(line):
                self._progress(f"standard library of {triple}: cargo compiles {crate}")

        try:
            run_tool(
                [str(rust.cargo), "build", "--release", "-Zbuild-std=std,panic_abort", "--target", triple],
                deadline=STD_DEADLINE_SECONDS,
                environment=cargo_environment() | rust.environment | settings,
                folder=work,
                on_line=show_crate,
            )
        except ToolFailed as error:
            raise StandardLibraryFailed(f"cannot build the standard library of {triple}: {error}") from error
        libraries = folder / "lib/rustlib" / triple / "lib"
        libraries.mkdir(parents=True)
        for path in (work / "target" / triple / "release/deps").glob("lib*.rlib"):
            if not path.name.startswith(f"lib{EMPTY_CRATE}"):
                shutil.copyfile(path, libraries / path.name)
        shutil.rmtree(work)

    def _pointer(self) -> _Compiler | None:
        """Return the compiler in use; None if there is none, or if the pointer is damaged."""
        try:
            return _Compiler(**json.loads((self._folder / POINTER).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _point_to(self, compiler: _Compiler) -> None:
        with replacing(self._folder / POINTER) as partial:
            partial.write_text(json.dumps(asdict(compiler)) + "\n", encoding="utf-8")


def _root_key(compiler: _Compiler) -> str:
    return f"rust-{compiler.key}"


def _std_key(compiler: _Compiler, triple: str) -> str:
    return f"std-{compiler.key}-{triple}"


def _rust_sources(root: Path) -> Path:
    """Return the folder of Rust's sources, whose name contains the version."""
    return next((root / "usr/src").glob("rustc-*"))


def _toolchain(compiler: _Compiler, root: Path, sysroot: Path | None) -> RustToolchain:
    programs = root / "usr/bin"
    libraries = root / f"usr/lib/{platform.machine()}-linux-gnu"
    return RustToolchain(
        route="debian",
        cargo=programs / "cargo",
        rustc=programs / "rustc",
        version=f"Debian {compiler.version} {compiler.key}",
        environment={
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(libraries), os.environ.get("LD_LIBRARY_PATH")))),
            "CARGO": str(programs / "cargo"),
            "RUSTC": str(programs / "rustc"),
        },
        sysroot=sysroot,
    )
