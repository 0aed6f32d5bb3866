"""Sign an APK by the schemes 2 (Android 7 and newer) and 3 (Android 9 and newer).

https://source.android.com/docs/security/features/apksigning/v2 and .../v3. Both put a block between the entries of the
ZIP file and its directory. RSA with PKCS #1 makes the same signature of the same bytes every time.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.native.android.key import Key

ALGORITHM = 0x0103
"""RSASSA-PKCS1-v1_5 with SHA-256, by chunks."""
SCHEME_2, SCHEME_3 = 0x7109871A, 0xF05368C0
FIRST_SDK_OF_3, LAST_SDK = 28, 0x7FFFFFFF
STRIPPING_PROTECTION = 0xBEEFF00D
"""An attribute of scheme 2: a newer scheme has signed, too, so that it cannot be removed unnoticed."""
MAGIC = b"APK Sig Block 42"
_END_OF_DIRECTORY = b"PK\x05\x06"
_CHUNK = 1 << 20


def sign_apk(path: Path, key: Key) -> None:
    """Put the signatures into the file, which must be a ZIP file without a comment."""
    end = path.stat().st_size - 22
    with path.open("rb+") as file:
        file.seek(end)
        tail = file.read()
        assert tail.startswith(_END_OF_DIRECTORY), "a ZIP file that was just written has no comment"
        directory = struct.unpack_from("<I", tail, 16)[0]
        file.seek(directory)
        entries = file.read(end - directory)
        # The end still names the directory's place without the block, which is what is signed.
        block = signing_block(content_digest(_parts(path, directory, entries, tail)), key)
        file.seek(directory)
        file.write(block + entries + tail[:16] + struct.pack("<I", directory + len(block)) + tail[20:])


def _parts(path: Path, directory: int, entries: bytes, end: bytes) -> Iterator[bytes]:
    """Yield the chunks that are hashed: of the entries, of the directory, of the end."""
    with path.open("rb") as file:
        left = directory
        while left:
            chunk = file.read(min(_CHUNK, left))
            left -= len(chunk)
            yield chunk
    for part in (entries, end):
        for start in range(0, len(part), _CHUNK):
            yield part[start : start + _CHUNK]


def content_digest(chunks: Iterable[bytes]) -> bytes:
    """Return the digest over the digests of the chunks."""
    digests = [hashlib.sha256(b"\xa5" + struct.pack("<I", len(chunk)) + chunk).digest() for chunk in chunks]
    return hashlib.sha256(b"\x5a" + struct.pack("<I", len(digests)) + b"".join(digests)).digest()


def signing_block(digest: bytes, key: Key) -> bytes:
    """Return the block with both signatures of this content."""
    digests = _sized(_sized(struct.pack("<I", ALGORITHM) + _sized(digest)))
    certificates = _sized(_sized(key.certificate))
    protection = _sized(_sized(struct.pack("<II", STRIPPING_PROTECTION, 3)))
    range_ = struct.pack("<II", FIRST_SDK_OF_3, LAST_SDK)
    second = _signer(digests + certificates + protection, b"", key)
    third = _signer(digests + certificates + range_ + _sized(b""), range_, key)
    pairs = b"".join(
        struct.pack("<QI", 4 + len(value), scheme) + value for scheme, value in ((SCHEME_2, second), (SCHEME_3, third))
    )
    size = struct.pack("<Q", len(pairs) + 8 + len(MAGIC))
    return size + pairs + size + MAGIC


def _signer(signed: bytes, between: bytes, key: Key) -> bytes:
    """Return the list of the one signer: what is signed, what scheme 3 repeats, the signature, the public key."""
    signature = _sized(_sized(struct.pack("<I", ALGORITHM) + _sized(key.sign(signed))))
    return _sized(_sized(_sized(signed) + between + signature + _sized(key.public)))


def _sized(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content
