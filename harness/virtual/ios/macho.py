"""Read what a phone's kernel and installer check in an executable: processor, platform, signature.

This code reads the file by hand, because importing lief takes half a second, and lief does not compare a signature with
its contents.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

ARM64 = 0x0100000C
_MAGIC_64 = 0xFEEDFACF
_FAT_MAGIC = 0xCAFEBABE
_EXECUTE = 2
_LC_CODE_SIGNATURE = 0x1D
_LC_VERSION_MIN_IPHONEOS = 0x25
_LC_BUILD_VERSION = 0x32
IOS, IOS_SIMULATOR = 2, 7
_SUPER_BLOB = 0xFADE0CC0
_CODE_DIRECTORY = 0xFADE0C02
_HASHES = {1: hashlib.sha1, 2: hashlib.sha256, 4: hashlib.sha384}


class NotAnExecutable(Exception):
    """The file is no Mach-O executable for a 64-bit ARM processor; the message states what it is."""


@dataclass(frozen=True)
class Executable:
    """Describe an executable.

    ``platform`` is Mach-O's number (2: iOS, 7: its simulator), ``minimum_os`` is (major, minor, patch).
    """

    platform: int | None
    minimum_os: tuple[int, int, int]
    signed: bool
    signature_fits: bool
    """True if every page has the hash in the signature."""
    identifier: str | None
    """The program's name in the signature."""


def read(data: bytes) -> Executable:
    """Read an executable, or the part of a universal one that is for a phone. Raises NotAnExecutable."""
    try:
        return _read_thin(_thin(data))
    except (struct.error, IndexError) as error:
        raise NotAnExecutable("it is cut off") from error


def _thin(data: bytes) -> bytes:
    if len(data) < 8 or struct.unpack_from(">I", data)[0] != _FAT_MAGIC:
        return data
    for index in range(struct.unpack_from(">I", data, 4)[0]):
        cpu, _subtype, offset, size, _align = struct.unpack_from(">IIIII", data, 8 + 20 * index)
        if cpu == ARM64:
            return data[offset : offset + size]
    raise NotAnExecutable("none of its parts is for arm64")


def _read_thin(data: bytes) -> Executable:
    if len(data) < 4 or struct.unpack_from("<I", data)[0] != _MAGIC_64:
        raise NotAnExecutable("it is no 64-bit Mach-O")
    _magic, cpu, _subtype, kind, count, _size, _flags, _reserved = struct.unpack_from("<8I", data)
    if cpu != ARM64:
        raise NotAnExecutable(f"it is for processor {cpu:#x} instead of arm64")
    if kind != _EXECUTE:
        raise NotAnExecutable(f"it is a Mach-O of kind {kind} instead of an executable")
    platform, minimum_os = None, (0, 0, 0)
    signature: tuple[int, int] | None = None
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        if command == _LC_BUILD_VERSION:
            platform, version = struct.unpack_from("<II", data, at + 8)
            minimum_os = _version(version)
        elif command == _LC_VERSION_MIN_IPHONEOS:
            platform, minimum_os = IOS, _version(struct.unpack_from("<I", data, at + 8)[0])
        elif command == _LC_CODE_SIGNATURE:
            signature = struct.unpack_from("<II", data, at + 8)
        at += max(8, size)
    if signature is None:
        return Executable(platform, minimum_os, signed=False, signature_fits=False, identifier=None)
    fits, identifier = _check(data, *signature)
    return Executable(platform, minimum_os, signed=True, signature_fits=fits, identifier=identifier)


def _version(packed: int) -> tuple[int, int, int]:
    return packed >> 16, packed >> 8 & 0xFF, packed & 0xFF


def _check(data: bytes, offset: int, size: int) -> tuple[bool, str | None]:
    blob = data[offset : offset + size]
    magic, _length, count = struct.unpack_from(">III", blob)
    if magic != _SUPER_BLOB:
        return False, None
    found = [struct.unpack_from(">II", blob, 12 + 8 * index)[1] for index in range(count)]
    directories = [at for at in found if struct.unpack_from(">I", blob, at)[0] == _CODE_DIRECTORY]
    if not directories:
        return False, None
    checked = [_check_directory(data, blob, at) for at in directories]
    return all(fits for fits, _ in checked), checked[0][1]


def _check_directory(data: bytes, blob: bytes, at: int) -> tuple[bool, str]:
    (_m, _length, _v, _f, hashes_at, name_at, _special, count, limit, size, kind, _p, page_bits) = struct.unpack_from(
        ">9I4B", blob, at
    )
    name = blob[at + name_at : blob.index(b"\0", at + name_at)].decode(errors="replace")
    if kind not in _HASHES or limit > len(data):
        return False, name
    page = 1 << page_bits if page_bits else max(1, limit)
    for index in range(count):
        expected = blob[at + hashes_at + index * size : at + hashes_at + (index + 1) * size]
        covered = data[index * page : min((index + 1) * page, limit)]
        if _HASHES[kind](covered).digest()[:size] != expected:
            return False, name
    return count * page >= limit, name
