"""Serve the Apple File Conduit: files of one room, by numbered packets."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.files import Escaped, Room
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection, Dropped

MAGIC = b"CFA6LPAA"
_HEADER = struct.Struct("<8sQQQQ")
MAXIMUM_PACKET_BYTES = 1 << 30
MAXIMUM_READ_BYTES = 8 << 20


class Operation(IntEnum):
    STATUS = 0x01
    DATA = 0x02
    READ_DIR = 0x03
    TRUNCATE = 0x07
    REMOVE_PATH = 0x08
    MAKE_DIR = 0x09
    GET_FILE_INFO = 0x0A
    GET_DEVICE_INFO = 0x0B
    FILE_OPEN = 0x0D
    FILE_OPEN_RESULT = 0x0E
    FILE_READ = 0x0F
    FILE_WRITE = 0x10
    FILE_SEEK = 0x11
    FILE_TELL = 0x12
    FILE_TELL_RESULT = 0x13
    FILE_CLOSE = 0x14
    FILE_SET_SIZE = 0x15
    GET_CONNECTION_INFO = 0x16
    RENAME_PATH = 0x18
    SET_FS_BLOCK_SIZE = 0x19
    SET_SOCKET_BLOCK_SIZE = 0x1A
    FILE_LOCK = 0x1B
    MAKE_LINK = 0x1C
    SET_FILE_TIME = 0x1E
    REMOVE_PATH_AND_CONTENTS = 0x22


class Status(IntEnum):
    SUCCESS = 0
    UNKNOWN_ERROR = 1
    INVALID_ARGUMENT = 7
    OBJECT_NOT_FOUND = 8
    OBJECT_IS_DIR = 9
    PERMISSION_DENIED = 10
    OPERATION_NOT_SUPPORTED = 15
    OBJECT_EXISTS = 16
    NO_SPACE_LEFT = 18
    IO_ERROR = 20
    DIRECTORY_NOT_EMPTY = 33


_ERRNO = {
    errno.ENOENT: Status.OBJECT_NOT_FOUND,
    errno.ENOTDIR: Status.OBJECT_NOT_FOUND,
    errno.EISDIR: Status.OBJECT_IS_DIR,
    errno.EACCES: Status.PERMISSION_DENIED,
    errno.EPERM: Status.PERMISSION_DENIED,
    errno.EEXIST: Status.OBJECT_EXISTS,
    errno.ENOSPC: Status.NO_SPACE_LEFT,
    errno.ENOTEMPTY: Status.DIRECTORY_NOT_EMPTY,
    errno.EBADF: Status.INVALID_ARGUMENT,
    errno.EINVAL: Status.INVALID_ARGUMENT,
}
_OPEN_FLAGS = {
    1: os.O_RDONLY,
    2: os.O_RDWR | os.O_CREAT,
    3: os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    4: os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    5: os.O_WRONLY | os.O_APPEND | os.O_CREAT,
    6: os.O_RDWR | os.O_APPEND | os.O_CREAT,
}
_KINDS = {stat.S_IFREG: "S_IFREG", stat.S_IFDIR: "S_IFDIR", stat.S_IFLNK: "S_IFLNK"}
_MOMENTS = {
    Operation.FILE_OPEN: "afc.open",
    Operation.FILE_READ: "afc.read",
    Operation.FILE_WRITE: "afc.write",
    Operation.READ_DIR: "afc.list",
    Operation.GET_FILE_INFO: "afc.stat",
    Operation.MAKE_DIR: "afc.mkdir",
    Operation.REMOVE_PATH: "afc.remove",
    Operation.REMOVE_PATH_AND_CONTENTS: "afc.remove",
}


class _Failed(Exception):
    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Files:
    """Hold one client's view of a room, with its open files. ``has_room`` returns whether so many more bytes fit."""

    def __init__(self, room: Room, has_room: Callable[[int], bool], free: Callable[[], int]) -> None:
        self._room = room
        self._has_room = has_room
        self._free = free
        self._open: dict[int, int] = {}
        self._next = 1

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def do(self, operation: int, body: bytes) -> tuple[Operation, bytes]:
        """Carry out one packet; return the answer's operation and body. Raises _Failed, Escaped or OSError."""
        match operation:
            case Operation.READ_DIR:
                names = sorted(entry.name for entry in self._path(body).iterdir())
                if self._room.only is not None and body.rstrip(b"\0") in (b"", b"/", b"."):
                    names = [name for name in names if name == self._room.only]
                return Operation.DATA, b"".join(os.fsencode(name) + b"\0" for name in [".", "..", *names])
            case Operation.GET_FILE_INFO:
                return Operation.DATA, self._info(self._path(body, follow=False))
            case Operation.GET_DEVICE_INFO:
                facts = {"Model": "iPhone", "FSTotalBytes": self._free(), "FSFreeBytes": self._free()}
                return Operation.DATA, _pairs({**facts, "FSBlockSize": 4096})
            case Operation.GET_CONNECTION_INFO:
                return Operation.DATA, _pairs({"LockTimeout": 600})
            case Operation.FILE_OPEN:
                return Operation.FILE_OPEN_RESULT, self._open_file(body)
            case Operation.FILE_READ:
                handle, size = struct.unpack_from("<QQ", body)
                return Operation.DATA, os.read(self._descriptor(handle), min(size, MAXIMUM_READ_BYTES))
            case Operation.FILE_TELL:
                descriptor = self._descriptor(struct.unpack_from("<Q", body)[0])
                return Operation.FILE_TELL_RESULT, struct.pack("<Q", os.lseek(descriptor, 0, os.SEEK_CUR))
        self._change(operation, body)
        return Operation.STATUS, struct.pack("<Q", Status.SUCCESS)

    def _change(self, operation: int, body: bytes) -> None:
        match operation:
            case Operation.FILE_WRITE:
                self._write(self._descriptor(struct.unpack_from("<Q", body)[0]), body[8:])
            case Operation.FILE_SEEK:
                handle, whence, offset = struct.unpack_from("<QQq", body)
                os.lseek(self._descriptor(handle), offset, whence)
            case Operation.FILE_CLOSE:
                handle = struct.unpack_from("<Q", body)[0]
                os.close(self._descriptor(handle))
                del self._open[handle]
            case Operation.FILE_SET_SIZE:
                handle, size = struct.unpack_from("<QQ", body)
                os.ftruncate(self._descriptor(handle), size)
            case Operation.TRUNCATE:
                os.truncate(self._path(body[8:]), struct.unpack_from("<Q", body)[0])
            case Operation.MAKE_DIR:
                self._path(body).mkdir(parents=True, exist_ok=True)
            case Operation.REMOVE_PATH:
                path = self._path(body, follow=False)
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            case Operation.REMOVE_PATH_AND_CONTENTS:
                path = self._path(body, follow=False)
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            case Operation.RENAME_PATH:
                source, target = body.split(b"\0")[:2]
                self._path(source, follow=False).rename(self._path(target, follow=False))
            case Operation.MAKE_LINK:
                target, name = body[8:].split(b"\0")[:2]
                self._path(name, follow=False).symlink_to(os.fsdecode(target))
            case Operation.SET_FILE_TIME:
                when = struct.unpack_from("<Q", body)[0]
                os.utime(self._path(body[8:]), ns=(when, when))
            case Operation.SET_FS_BLOCK_SIZE | Operation.SET_SOCKET_BLOCK_SIZE | Operation.FILE_LOCK:
                pass
            case _:
                raise _Failed(Status.OPERATION_NOT_SUPPORTED)

    def _path(self, body: bytes, *, follow: bool = True) -> Path:
        return self._room.find(os.fsdecode(body.split(b"\0", 1)[0]), follow=follow)

    def _descriptor(self, handle: int) -> int:
        if handle not in self._open:
            raise _Failed(Status.INVALID_ARGUMENT)
        return self._open[handle]

    def _open_file(self, body: bytes) -> bytes:
        flags = _OPEN_FLAGS.get(struct.unpack_from("<Q", body)[0])
        if flags is None:
            raise _Failed(Status.INVALID_ARGUMENT)
        path = self._path(body[8:])
        if path.is_dir():
            raise _Failed(Status.OBJECT_IS_DIR)
        self._open[self._next] = os.open(path, flags | os.O_CLOEXEC, 0o644)
        self._next += 1
        return struct.pack("<Q", self._next - 1)

    def _write(self, descriptor: int, data: bytes) -> None:
        if not self._has_room(len(data)):
            raise _Failed(Status.NO_SPACE_LEFT)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def _info(self, path: Path) -> bytes:
        found = path.lstat()
        facts: dict[str, object] = {
            "st_size": found.st_size,
            "st_blocks": found.st_blocks,
            "st_nlink": found.st_nlink,
            "st_ifmt": _KINDS.get(stat.S_IFMT(found.st_mode), "S_IFREG"),
            "st_mtime": found.st_mtime_ns,
            "st_birthtime": found.st_ctime_ns,
        }
        if path.is_symlink():
            facts["LinkTarget"] = path.readlink()
        return _pairs(facts)


async def serve(phone: Phone, connection: Connection, room: Room) -> None:
    """Answer one connection's packets until it ends."""
    files = Files(room, phone.has_room, phone.free_bytes)
    try:
        while True:
            magic, whole, _this, number, operation = _HEADER.unpack(await connection.read(_HEADER.size))
            if magic != MAGIC or not _HEADER.size <= whole <= MAXIMUM_PACKET_BYTES:
                raise Dropped
            body = await connection.read(whole - _HEADER.size)
            kind, answer = await _answer(phone, connection, files, operation, body)
            # A status counts as part of the header, but data does not.
            head = _HEADER.size + (len(answer) if kind is not Operation.DATA else 0)
            await connection.send(_HEADER.pack(MAGIC, _HEADER.size + len(answer), head, number, kind) + answer)
    finally:
        files.close()


async def _answer(
    phone: Phone, connection: Connection, files: Files, operation: int, body: bytes
) -> tuple[Operation, bytes]:
    status = Status.UNKNOWN_ERROR
    try:
        if operation in _MOMENTS:
            await phone.faults.at(_MOMENTS[Operation(operation)], connection)
        return files.do(operation, body)
    except Refused as refused:
        status = Status.__members__.get(refused.error or "", Status.IO_ERROR)
    except _Failed as failed:
        status = failed.status
    except Escaped:
        status = Status.PERMISSION_DENIED
    except (struct.error, ValueError):
        status = Status.INVALID_ARGUMENT
    except OSError as error:
        status = _ERRNO.get(error.errno or 0, Status.IO_ERROR)
    return Operation.STATUS, struct.pack("<Q", status)


def _pairs(facts: dict[str, object]) -> bytes:
    return b"".join(f"{name}\0{value}\0".encode() for name, value in facts.items())
