"""Build TVM's runtime for the two slices; it is compiled once with zig, because the slices' code is the same.

An object for the simulator differs from one for phones only in its platform stamp. Both are arm64 code with the same
calling convention, and the runtime's sources never ask for the platform. Changing the stamp saves two and a half
minutes of processor time. Apple's clang has an SDK for each and compiles twice.
"""

from __future__ import annotations

import struct
from pathlib import Path

from harness.core.cache import Cache, content_key, hash_file
from harness.core.progress import Progress
from harness.native.ios.tools import ZIG_TRIPLES, AppleTools, Slice
from harness.native.runtime import RuntimeBuildFailed, RuntimeLibs, build_runtime

AR_MAGIC, AR_HEADER_BYTES, AR_LONG_NAME = b"!<arch>\n", 60, b"#1/"
MACH_MAGIC, MACH_HEADER_BYTES = 0xFEEDFACF, 32
LC_BUILD_VERSION = 0x32
PLATFORM_IOS, PLATFORM_IOS_SIMULATOR = 2, 7
"""Constants of mach-o/loader.h."""


def ios_runtime(which: Slice, tools: AppleTools, *, cache: Cache, progress: Progress) -> RuntimeLibs:
    """Return the runtime of a slice, from the cache or built now; raises as ``build_runtime`` does."""
    if which == "device" or tools.name == "Xcode":
        return build_runtime(ZIG_TRIPLES[which], cache=cache, progress=progress, compiler=tools.cxx)
    device = build_runtime(ZIG_TRIPLES["device"], cache=cache, progress=progress)
    libraries = (device.ffi, device.runtime)

    def build(folder: Path) -> None:
        for library in libraries:
            (folder / library.name).write_bytes(for_simulator(library.read_bytes()))

    key = content_key({"for": "simulator", "of": [hash_file(library) for library in libraries]})
    return RuntimeLibs(cache.fetch("runtimes", key, build))


def for_simulator(archive: bytes) -> bytes:
    """Return a static library for phones as one for the simulator; raises RuntimeBuildFailed for anything else."""
    data = bytearray(archive)
    if not data.startswith(AR_MAGIC):
        raise RuntimeBuildFailed("a static library does not begin as one")
    at, changed = len(AR_MAGIC), 0
    while at + AR_HEADER_BYTES <= len(data):
        name, size = bytes(data[at : at + 16]), int(data[at + 48 : at + 58])
        begin = at + AR_HEADER_BYTES
        end = begin + size
        if name.startswith(AR_LONG_NAME):
            begin += int(name[len(AR_LONG_NAME) :])
        if end - begin >= MACH_HEADER_BYTES and struct.unpack_from("<I", data, begin)[0] == MACH_MAGIC:
            _restamp(data, begin)
            changed += 1
        at = end + end % 2
    if not changed:
        raise RuntimeBuildFailed("a static library for phones holds no object for one")
    return bytes(data)


def _restamp(data: bytearray, begin: int) -> None:
    commands = struct.unpack_from("<I", data, begin + 16)[0]
    at = begin + MACH_HEADER_BYTES
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, at)
        if command == LC_BUILD_VERSION and struct.unpack_from("<I", data, at + 8)[0] == PLATFORM_IOS:
            struct.pack_into("<I", data, at + 8, PLATFORM_IOS_SIMULATOR)
            return
        at += size
    raise RuntimeBuildFailed("an object is not marked as being for iOS")
