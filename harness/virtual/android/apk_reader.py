"""Read an APK as Android's installer does: its manifest in binary XML, and its signature by scheme 3.

This shares nothing with what writes them (``harness/native/android``); the tests hold both against Debian's tools, too.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import load_der_x509_certificate

RSA_SHA256 = 0x0103
SCHEME_3 = 0xF05368C0
_CHUNK = 1 << 20
_NONE = 0xFFFFFFFF
_STRING, _TRUTH = 0x03, 0x12


class BadApk(Exception):
    """An APK cannot be installed; the message begins with Android's code."""


@dataclass(frozen=True)
class Apk:
    """Hold what is installed. ``certificate`` is the signer's, in DER; ``abis`` are those of its libraries."""

    path: Path
    package: str
    minimum_sdk: int
    library: str
    certificate: bytes
    abis: frozenset[str]


def read_apk(path: Path) -> Apk:
    """Read and verify an APK; raises BadApk."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            elements = list(_elements(archive.read("AndroidManifest.xml")))
    except (zipfile.BadZipFile, KeyError, OSError, struct.error, ValueError, IndexError) as error:
        raise BadApk(f"INSTALL_PARSE_FAILED_NOT_APK: {error}") from error
    try:
        (package,) = (str(values["package"]) for name, values in elements if name == "manifest")
        (minimum,) = (int(values["minSdkVersion"]) for name, values in elements if name == "uses-sdk")
        (code,) = (values.get("hasCode", True) for name, values in elements if name == "application")
        (activity,) = (values for name, values in elements if name == "activity")
        library = next(str(values["value"]) for name, values in elements if name == "meta-data")
    except (ValueError, KeyError, StopIteration) as error:
        raise BadApk(f"INSTALL_PARSE_FAILED_MANIFEST_MALFORMED: {error!r}") from error
    if code or activity.get("name") != "android.app.NativeActivity" or activity.get("exported") is not True:
        raise BadApk("INSTALL_PARSE_FAILED_MANIFEST_MALFORMED: this device runs exported native activities only")
    parts = [PurePosixPath(name).parts for name in names]
    abis = frozenset(part[1] for part in parts if len(part) == 3 and part[0] == "lib")
    return Apk(path, package, minimum, library, _signer(path), abis)


def _elements(data: bytes) -> Iterator[tuple[str, dict[str, str | int | bool]]]:
    """Yield each element's name with its attributes; raises struct.error or ValueError for other data."""
    kind, head, size = struct.unpack_from("<HHI", data)
    if (kind, size) != (0x3, len(data)):
        raise ValueError("no binary XML")
    strings: list[str] = []
    at = head
    while at < size:
        kind, head, length = struct.unpack_from("<HHI", data, at)
        if length < 8 or at + length > size:
            raise ValueError("a chunk is longer than the document")
        if kind == 0x1:
            strings = _strings(data[at : at + length])
        elif kind == 0x102:
            _, name, begin, step, count = struct.unpack_from("<IIHHH", data, at + head)
            first = at + head + begin
            yield strings[name], dict(_attribute(data, first + step * one, strings) for one in range(count))
        at += length


def _attribute(data: bytes, at: int, strings: list[str]) -> tuple[str, str | int | bool]:
    _, name, _raw, _size, _zero, kind, value = struct.unpack_from("<IIIHBBI", data, at)
    if kind == _STRING:
        return strings[name], strings[value]
    return strings[name], value == _NONE if kind == _TRUTH else value


def _strings(chunk: bytes) -> list[str]:
    count, _styles, flags, start = struct.unpack_from("<IIII", chunk, 8)
    if flags & 0x100:
        raise ValueError("strings in UTF-8")
    found = []
    for place in struct.unpack_from(f"<{count}I", chunk, 28):
        (length,) = struct.unpack_from("<H", chunk, start + place)
        found.append(chunk[start + place + 2 :][: 2 * length].decode("utf-16-le"))
    return found


def _signer(path: Path) -> bytes:
    """Return the certificate of who signed all of the file; raises BadApk."""
    try:
        return _verified(path.read_bytes())
    except (struct.error, ValueError, KeyError, InvalidSignature) as error:
        raise BadApk(f"INSTALL_PARSE_FAILED_NO_CERTIFICATES: Failed to collect certificates: {error!r}") from error


def _verified(data: bytes) -> bytes:
    end = data.rindex(b"PK\x05\x06")
    (directory,) = struct.unpack_from("<I", data, end + 16)
    if data[directory - 16 : directory] != b"APK Sig Block 42":
        raise ValueError("no signing block")
    (size,) = struct.unpack_from("<Q", data, directory - 24)
    block = directory - size - 8
    signer, _ = _take(_take(_pairs(data[block + 8 : directory - 24])[SCHEME_3])[0])
    signed, rest = _take(signer)
    first, last = struct.unpack_from("<II", rest)
    signatures, rest = _take(rest[8:])
    public, _ = _take(rest)
    (algorithm,) = struct.unpack_from("<I", _take(signatures)[0])
    signature, _ = _take(_take(signatures)[0][4:])
    key = serialization.load_der_public_key(public)
    if algorithm != RSA_SHA256 or not isinstance(key, rsa.RSAPublicKey):
        raise ValueError(f"unknown algorithm {algorithm:#x}")
    key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    digests, rest = _take(signed)
    certificates, rest = _take(rest)
    if struct.unpack_from("<II", rest) != (first, last):
        raise ValueError("the signed range of releases is another one")
    certificate, _ = _take(certificates)
    if load_der_x509_certificate(certificate).public_key() != key:
        raise ValueError("the certificate is of another key")
    digest, _ = _take(_take(digests)[0][4:])
    # The end names the directory's place without the block.
    tail = data[end : end + 16] + struct.pack("<I", block) + data[end + 20 :]
    if digest != _digest((data[:block], data[directory:end], tail)):
        raise ValueError("the contents are not those that were signed")
    return certificate


def _pairs(block: bytes) -> dict[int, bytes]:
    pairs = {}
    while block:
        size, scheme = struct.unpack_from("<QI", block)
        pairs[scheme], block = block[12 : 8 + size], block[8 + size :]
    return pairs


def _take(data: bytes) -> tuple[bytes, bytes]:
    """Return what a length in front announces, and the rest."""
    (size,) = struct.unpack_from("<I", data)
    if size > len(data) - 4:
        raise ValueError("the signing block is cut short")
    return data[4 : 4 + size], data[4 + size :]


def _digest(sections: tuple[bytes, ...]) -> bytes:
    chunks = [part[at : at + _CHUNK] for part in sections for at in range(0, len(part), _CHUNK)]
    digests = [hashlib.sha256(struct.pack("<BI", 0xA5, len(chunk)) + chunk).digest() for chunk in chunks]
    return hashlib.sha256(struct.pack("<BI", 0x5A, len(digests)) + b"".join(digests)).digest()
