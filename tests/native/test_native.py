"""The runtime from the wheels, linked and run; and binaries whose models were dropped."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from harness.compiler import compile_models, compile_smoke
from harness.core.cache import Cache
from harness.core.errors import ExitCode
from harness.models.g2p.checkpoints import Checkpoint
from harness.native import build_runner, build_runtime, check_registrations, inspect, link_variables
from harness.native.cargo import BINARY, PACKAGE
from harness.native.cargo_environment import cargo_environment
from harness.native.compilers import CxxCompiler, ToolchainMissing, cxx_compiler, host_compiler
from harness.native.inspection import MissingRegistration, UnreadableBinary
from harness.native.patches import HEADER_PATCHES, SOURCE_PATCHES, Patch
from harness.native.process import run_tool
from harness.native.runner import workspace_root
from harness.native.runtime import (
    FFI_SOURCES,
    OBJECT_POOL,
    RUNTIME_SOURCES,
    SHIMS,
    RuntimeBuildFailed,
    _Build,
)
from tests.compile_requests import SMALL, g2p_request

LIBC = ("libc.so", "libm.so", "ld-linux", "libpthread.so", "libdl.so", "libSystem")


def quiet(_text: str) -> None:
    pass


def test_the_runtime_is_27_files_in_two_libraries(user_cache: Cache) -> None:
    libraries = build_runtime(cache=user_cache, progress=quiet)
    assert (len(FFI_SOURCES), len(RUNTIME_SOURCES)) == (15, 12)
    listed = subprocess.run(["nm", "-C", str(libraries.ffi)], capture_output=True, text=True, check=True).stdout
    assert " T TVMFFIFunctionGetGlobal" in listed
    assert libraries.runtime.stat().st_size > 1_000_000
    assert sorted(p.name for p in libraries.folder.iterdir()) == ["libtvm_ffi.a", "libtvm_runtime.a", "manifest.json"]


def test_a_missing_compiler_names_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolchainMissing, match=r"no C\+\+ compiler") as caught:
        host_compiler()
    assert "g++" in caught.value.cure


@pytest.mark.usefixtures("work_is_here")
def test_the_runner_holds_every_model_and_needs_only_libc(small_checkpoint: Checkpoint, user_cache: Cache) -> None:
    request = g2p_request(small_checkpoint, **SMALL)
    runner = build_runner(compile_models(request, cache=user_cache, progress=quiet), cache=user_cache, progress=quiet)
    facts = inspect(runner.path)
    assert len(facts.registrations) == 3
    foreign = [name for name in facts.libraries if not name.startswith(LIBC)]
    assert foreign == []


@pytest.mark.thorough
@pytest.mark.usefixtures("work_is_here")
def test_a_program_for_a_phone_is_at_most_4_mb_without_the_weights(
    small_checkpoint: Checkpoint, user_cache: Cache
) -> None:
    """The command of docs/rust.md, whose program is optimised as a whole; the harness's own runner is not."""
    archive = compile_models(g2p_request(small_checkpoint, **SMALL), cache=user_cache, progress=quiet)
    variables = link_variables(
        archive.path, archive.metadata.prefix_base, build_runtime(cache=user_cache, progress=quiet)
    )
    folder = user_cache.root / "cargo/stripped"
    command = ["cargo", "build", "--profile", "stripped", "--locked", "-p", PACKAGE, "--target-dir", str(folder)]
    with FileLock(f"{folder}.lock"):
        run_tool(command, deadline=1800.0, environment=cargo_environment() | variables, folder=workspace_root())
        size = (folder / "stripped" / BINARY).stat().st_size
    assert archive.metadata.weights_bytes > 0
    assert size - archive.metadata.weights_bytes <= 4_000_000


@pytest.mark.parametrize("patch", [*HEADER_PATCHES, *SOURCE_PATCHES], ids=lambda patch: patch.path)
def test_a_patch_changes_one_passage_or_nothing(patch: Patch) -> None:
    assert patch.apply(f"a{patch.before}b") == f"a{patch.after}b"
    for other in ("", patch.before * 2):
        with pytest.raises(ValueError, match="not one"):
            patch.apply(other)


def test_sources_of_another_version_are_not_patched(tmp_path: Path) -> None:
    build = _Build(CxxCompiler(("c++",), "c++"), tmp_path, quiet)
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm/vm.cc").write_text("int main() {}\n")
    patches = [patch for patch in SOURCE_PATCHES if patch.path == "vm/vm.cc"]
    with pytest.raises(RuntimeBuildFailed, match="0 passages") as caught:
        build._patch(patches, tmp_path, tmp_path)
    assert "make setup" in caught.value.cure


def test_the_object_pool_recycles_across_threads_and_keeps_alignment(tmp_path: Path) -> None:
    source = Path(__file__).parent / "object_pool_test.cc"
    program = tmp_path / "pool"
    command = [*host_compiler(), "-std=c++20", "-g", "-pthread", "-fsanitize=address,undefined", f"-I{SHIMS}"]
    subprocess.run([*command, str(source), str(OBJECT_POOL), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_a_dropped_registration_is_named(user_cache: Cache, tmp_path: Path) -> None:
    """Link an archive the way that loses it: without whole-archive, from a main that does not mention it."""
    folder = compile_smoke("g2p_test_", "llvm", cache=user_cache, progress=quiet)
    runtime = build_runtime(cache=user_cache, progress=quiet)
    (tmp_path / "main.cc").write_text("int main() { return 0; }\n")
    libraries = [str(folder / "libg2p_smoke_system_lib.a"), str(runtime.runtime), str(runtime.ffi)]
    lost, kept = tmp_path / "lost", tmp_path / "kept"
    compiler = [*host_compiler(), str(tmp_path / "main.cc")]
    subprocess.run([*compiler, *libraries, "-lpthread", "-ldl", "-o", str(lost)], check=True)
    with pytest.raises(MissingRegistration, match="lost has no registration of g2p_test_") as caught:
        check_registrations(lost, ["g2p_test_"])
    assert caught.value.exit_code is ExitCode.FAILURE
    whole = ["-Wl,--whole-archive", libraries[0], "-Wl,--no-whole-archive", *libraries[1:]]
    subprocess.run([*compiler, *whole, "-lpthread", "-ldl", "-o", str(kept)], check=True)
    assert check_registrations(kept, ["g2p_test_"]).registrations
    with pytest.raises(MissingRegistration, match="g2p_other_"):
        check_registrations(kept, ["g2p_test_", "g2p_other_"])


def test_what_is_no_binary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runner"
    path.write_text("#!/bin/sh\n")
    with pytest.raises(UnreadableBinary, match="neither ELF nor Mach-O"):
        inspect(path)


@pytest.mark.thorough
@pytest.mark.parametrize("triple", ["aarch64-linux-musl"])
def test_any_zig_triple_compiles(triple: str, user_cache: Cache, tmp_path: Path) -> None:
    """The whole runtime for a phone takes minutes; its smallest and its largest file stand for it here."""
    build = _Build(cxx_compiler(triple, user_cache), tmp_path, quiet)
    build._lay_out()
    for name in ("timer.cc", "vm/vm.cc"):
        target = tmp_path / f"{Path(name).stem}.o"
        build._compile(build.work / "src/runtime" / name, target)
        assert target.read_bytes()[:4] == b"\x7fELF"
        assert int.from_bytes(target.read_bytes()[18:20], "little") == 183  # EM_AARCH64


@pytest.mark.usefixtures("work_is_here")
def test_cargo_is_asked_for_by_name(
    small_checkpoint: Checkpoint, user_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = g2p_request(small_checkpoint, **SMALL)
    archive = compile_models(request, cache=user_cache, progress=quiet)
    git = shutil.which("git")
    assert git is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainMissing, match="cargo was not found") as caught:
        build_runner(archive, cache=user_cache, progress=quiet)
    assert "rustup" in caught.value.cure
