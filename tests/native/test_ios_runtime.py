"""One runtime for both slices: what the simulator's is marked for, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lief
import pytest

from harness.core.cache import Cache
from harness.native.ios.runtime import for_simulator, ios_runtime
from harness.native.ios.xcframework import merge_libraries
from harness.native.runtime import RuntimeBuildFailed
from tests.native.apple import compile_c, link, llvm_tools, quiet


def archived(objects: list[Path], target: Path) -> Path:
    command = [sys.executable, "-m", "ziglang", "ar", "rcsD", str(target), *map(str, objects)]
    subprocess.run(command, check=True)
    return target


def member(archive: Path, name: str, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "ziglang", "ar", "x", str(archive.absolute()), name], check=True, cwd=folder)
    return folder / name


def platform_of(path: Path) -> str:
    binary = lief.parse(path)
    assert isinstance(binary, lief.MachO.Binary)
    assert binary.build_version is not None
    return str(binary.build_version.platform.name)


def test_only_what_the_objects_are_for_changes(user_cache: Cache, tmp_path: Path) -> None:
    made = compile_c("int answer(void) { return 42; }\n", tmp_path / "answer.o", "device", user_cache)
    (tmp_path / "notes").write_bytes(b"odd")
    device = archived([tmp_path / "notes", made], tmp_path / "libdevice.a")
    simulator = tmp_path / "libsimulator.a"
    simulator.write_bytes(for_simulator(device.read_bytes()))
    assert platform_of(member(device, "answer.o", tmp_path / "d")) == "IOS"
    assert platform_of(member(simulator, "answer.o", tmp_path / "s")) == "IOS_SIMULATOR"
    pairs = zip(device.read_bytes(), simulator.read_bytes(), strict=True)
    assert [(a, b) for a, b in pairs if a != b] == [(2, 7)]


def test_names_in_front_of_the_objects_are_passed_over(user_cache: Cache, tmp_path: Path) -> None:
    """As Apple's archives have them; LLVM's linker looks at no slice, Apple's does."""
    made = compile_c("int answer(void) { return 42; }\n", tmp_path / "answer.o", "device", user_cache)
    merge_libraries([archived([made], tmp_path / "libplain.a")], tmp_path / "libdevice.a")
    assert b"#1/" in (tmp_path / "libdevice.a").read_bytes()
    (tmp_path / "libsimulator.a").write_bytes(for_simulator((tmp_path / "libdevice.a").read_bytes()))
    assert platform_of(member(tmp_path / "libsimulator.a", "answer.o", tmp_path / "s")) == "IOS_SIMULATOR"
    main = "int answer(void); int main(void) { return answer(); }\n"
    compile_c(main, tmp_path / "main.o", "simulator", user_cache)
    done = link([tmp_path / "main.o", tmp_path / "libsimulator.a"], tmp_path / "app", "simulator", user_cache)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_the_simulators_runtime_is_made_of_the_phones(user_cache: Cache) -> None:
    made = {
        which: ios_runtime(which, llvm_tools(which, user_cache), cache=user_cache, progress=quiet)
        for which in ("device", "simulator")
    }
    device, simulator = (made[which].runtime.read_bytes() for which in ("device", "simulator"))
    assert len(device) == len(simulator)
    assert device != simulator
    assert for_simulator(device) == simulator


@pytest.mark.parametrize(
    ("objects", "message"),
    [("none", "holds no object"), ("simulator", "not marked as being"), ("garbage", "does not begin")],
)
def test_what_is_not_for_phones_is_refused(objects: str, message: str, user_cache: Cache, tmp_path: Path) -> None:
    if objects == "garbage":
        data = b"\x7fELF"
    elif objects == "none":
        (tmp_path / "notes").write_bytes(b"odd")
        data = archived([tmp_path / "notes"], tmp_path / "lib.a").read_bytes()
    else:
        made = compile_c("int answer(void) { return 42; }\n", tmp_path / "answer.o", "simulator", user_cache)
        data = archived([made], tmp_path / "lib.a").read_bytes()
    with pytest.raises(RuntimeBuildFailed, match=message):
        for_simulator(data)
