"""The phone's reading of executables, against linkers that sign and against lief."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lief
import pytest

from harness.core.cache import Cache
from harness.virtual.ios import macho
from tests.devices.virtual_ios.app import X86_64, make_executable

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory, user_cache: Cache) -> dict[str, Path]:
    """A program linked by zig for iOS (which it does not sign) and for macOS (ad hoc)."""
    folder = tmp_path_factory.mktemp("linked")
    (folder / "main.c").write_text("int main(void) { return 7; }\n")
    made = {}
    for target in ("aarch64-ios.14.2", "aarch64-macos.12.0"):
        made[target] = folder / target
        alone = ["-nostdlib", "-Wl,-e,_main"]
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", "-target", target, *alone, folder / "main.c", "-o", made[target]],
            check=True,
            env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(user_cache.root / "zig")},
            timeout=600,
        )
    return made


def test_an_unsigned_program_for_ios(linked: dict[str, Path]) -> None:
    path = linked["aarch64-ios.14.2"]
    found = macho.read(path.read_bytes())
    assert (found.platform, found.minimum_os) == (macho.IOS, (14, 2, 0))
    other: Any = lief.parse(path)
    assert found.minimum_os == tuple(other.build_version.minos)
    assert not found.signed


def test_a_linkers_signature_fits_until_a_byte_changes(linked: dict[str, Path]) -> None:
    data = bytearray(linked["aarch64-macos.12.0"].read_bytes())
    found = macho.read(bytes(data))
    assert found.platform == 1
    assert found.signed
    assert found.signature_fits
    assert found.identifier == "aarch64-macos.12.0"
    data[len(data) // 3] ^= 0x40
    assert not macho.read(bytes(data)).signature_fits


def test_the_tests_own_executable_is_one_to_lief_too(tmp_path: Path) -> None:
    (tmp_path / "tiny").write_bytes(make_executable())
    other: Any = lief.parse(tmp_path / "tiny")
    assert other.header.cpu_type.name == "ARM64"
    assert tuple(other.build_version.minos) == (14, 0, 0)
    assert other.has_code_signature
    assert macho.read(make_executable()).signature_fits


def test_universal_files_are_read_in_the_part_for_phones() -> None:
    parts = [(X86_64, make_executable(cpu=X86_64)), (macho.ARM64, make_executable(minimum_os=(15, 1)))]
    head, body = b"", b""
    for cpu, part in parts:
        offset = 4096 + len(body)
        head += b"".join(value.to_bytes(4, "big") for value in (cpu, 0, offset, len(part), 12))
        body += part.ljust(8192, b"\0")
    data = (b"\xca\xfe\xba\xbe" + len(parts).to_bytes(4, "big") + head).ljust(4096, b"\0") + body
    assert macho.read(data).minimum_os == (15, 1, 0)
    with pytest.raises(macho.NotAnExecutable, match="none of its parts"):
        macho.read(b"\xca\xfe\xba\xbe" + (1).to_bytes(4, "big") + head[:20])


@pytest.mark.parametrize("size", [0, 3, 20, 40, 60, 4100])
def test_what_is_cut_off_is_no_executable(size: int) -> None:
    with pytest.raises(macho.NotAnExecutable):
        macho.read(make_executable()[:size])
