"""Keep files by their SHA-256 in a folder or on S3, so that each travels once to each machine that needs it.

The name of a file is the hash of its contents, and each download is hashed again. So a store is trusted neither
to be whole nor to be honest: a file that does not match its name is an error, and nothing of it is used.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, NotSupportedError
from obstore.store import from_url

from harness.core.files import replacing
from harness.core.hashes import CHUNK, hash_file
from harness.core.store_errors import StoreDamaged, StoreFailed, StoreMisuse
from harness.core.text import quoted

if TYPE_CHECKING:
    from obstore.store import RetryConfig

SCHEMES = ("file", "s3", "gs", "az")
FOLDER = "files"
MOST_BYTES = 4 * 2**30
"""The most bytes of one file."""
ONE_REQUEST = 64 * 2**20
"""Larger files are sent in parts."""
SMALL = 2**18
"""Smaller files are sent without asking first whether the store has them."""
MISSING = (NotFoundError, FileNotFoundError)
_THERE = (AlreadyExistsError, FileExistsError)
"""The library raises Python's own errors for some of its own."""
PATIENCE = timedelta(seconds=30)
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_CURES = {
    "RequestTimeTooSkewed": "set this machine's clock: the store refuses requests of another time than its own",
    "NoSuchBucket": "make the bucket, or name one that exists",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_store_url(url: str) -> str:
    """Return the address of a store; raises StoreMisuse if it is none, or if it contains a password."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise StoreMisuse(
            f"{quoted(url)} is no address of a store", cure="write it like file:///shared/lab or s3://bucket/prefix"
        )
    if parts.username or parts.password or parts.query:
        raise StoreMisuse(
            "the address of the store contains more than a place",
            cure="leave credentials to the environment (AWS_ACCESS_KEY_ID and its relatives)",
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise StoreMisuse(f"{quoted(url)} is no folder of this machine", cure="write it like file:///shared/lab")
    return url


def folder_of(url: str) -> Path | None:
    """Return the folder of a store that is one; None for others."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


class FileStore:
    """Hold files by their hashes below ``url``; raises StoreMisuse for a wrong address and StoreFailed later."""

    def __init__(self, url: str, *, patience: timedelta = PATIENCE) -> None:
        """Open the store; a request that fails is tried again for ``patience``."""
        self.url = check_store_url(url)
        retry: RetryConfig = {"max_retries": 5, "retry_timeout": patience}
        parts = urlsplit(url)
        try:
            self.objects = from_url(url, mkdir=True) if parts.scheme == "file" else from_url(url, retry_config=retry)
        except (BaseError, OSError) as error:
            raise StoreFailed(f"the store {url} cannot be opened: {short(error)}") from error
        self._lock = threading.Lock()
        self._there: set[str] = set()
        """What is known to be in the store, so that it is asked once."""

    def put(self, path: Path, *, again: bool = False) -> str:
        """Make sure that the store has the file, which nobody changes meanwhile; return the hash of its contents.

        ``again`` writes it also where one of that name and size is, whose contents may be others.
        """
        return self._put(path, hash_file(path), path.stat().st_size, path.name, again=again)

    def put_bytes(self, data: bytes, name: str) -> str:
        """Make sure that the store has a file with these contents; return their hash. ``name`` is for messages."""
        return self._put(data, hashlib.sha256(data).hexdigest(), len(data), name)

    def _put(self, contents: Path | bytes, sha256: str, size: int, name: str, *, again: bool = False) -> str:
        with self._lock:
            if sha256 in self._there and not again:
                return sha256
        with self.trouble("taking", name):
            if again:
                obstore.put(self.objects, _key(sha256), contents, use_multipart=size > ONE_REQUEST)
            elif size <= SMALL or not self._has(sha256, size):
                try:
                    if size > ONE_REQUEST:
                        obstore.put(self.objects, _key(sha256), contents, use_multipart=True)
                    else:
                        obstore.put(self.objects, _key(sha256), contents, mode="create", use_multipart=False)
                except _THERE:
                    pass  # somebody else was faster, with the same bytes
                except NotSupportedError:
                    obstore.put(self.objects, _key(sha256), contents)
        with self._lock:
            self._there.add(sha256)
        return sha256

    def fetch(self, sha256: str, target: Path) -> None:
        """Write the file of that hash to ``target``, whole and with these contents or not at all."""
        if not _SHA256.fullmatch(sha256):
            raise StoreFailed(f"{quoted(sha256)} is no hash of a file")
        digest, size = hashlib.sha256(), 0
        with self.trouble("giving", sha256[:12]), replacing(target) as partial, partial.open("wb") as stream:
            for chunk in obstore.get(self.objects, _key(sha256)).stream(min_chunk_size=CHUNK):
                size += len(chunk)
                if size > MOST_BYTES:
                    raise StoreDamaged(f"the file {sha256[:12]} of the store is larger than {MOST_BYTES} bytes")
                digest.update(chunk)
                stream.write(chunk)
            if digest.hexdigest() != sha256:
                raise _other_contents(sha256)

    def fetch_bytes(self, sha256: str, most: int) -> bytes:
        """Return the contents of the file of that hash, which has at most so many bytes."""
        if not _SHA256.fullmatch(sha256):
            raise StoreFailed(f"{quoted(sha256)} is no hash of a file")
        found = self.read(_key(sha256), most)
        if found is None:
            raise StoreDamaged(f"the store {self.url} has no file {sha256[:12]}")
        if hashlib.sha256(found).hexdigest() != sha256:
            raise _other_contents(sha256)
        return found

    def read(self, name: str, most: int) -> bytes | None:
        """Return a named object of at most so many bytes, None if there is none; raises StoreDamaged, StoreFailed."""
        found = b""
        with self.trouble("giving", name):
            try:
                stream = obstore.get(self.objects, name).stream()
            except MISSING:
                return None
            for chunk in stream:
                found += bytes(chunk)
                if len(found) > most:
                    raise StoreDamaged(f"{name} of the store is larger than {most} bytes")
        return found

    def has(self, name: str) -> bool:
        """Return whether there is a named object; raises StoreFailed."""
        with self.trouble("looking for", name):
            try:
                obstore.head(self.objects, name)
            except MISSING:
                return False
            return True

    def write_once(self, name: str, contents: bytes) -> bool:
        """Write a named object whole; return False if there is one already, which stays. Raises StoreFailed."""
        with self.trouble("taking", name):
            try:
                obstore.put(self.objects, name, contents, mode="create", use_multipart=False)
            except _THERE:
                return False
            except NotSupportedError:
                if self.has(name):
                    return False
                obstore.put(self.objects, name, contents, use_multipart=False)
        return True

    def replace(self, name: str, contents: bytes) -> None:
        """Write a named object whole, and replace an existing one. Raises StoreFailed."""
        with self.trouble("taking", name):
            obstore.put(self.objects, name, contents, use_multipart=False)

    def _has(self, sha256: str, size: int) -> bool:
        try:
            return obstore.head(self.objects, _key(sha256))["size"] == size
        except MISSING:
            return False

    @contextmanager
    def trouble(self, verb: str, what: str) -> Iterator[None]:
        """Turn the library's errors while the store was ``verb`` into StoreFailed."""
        try:
            yield
        except MISSING as error:
            raise StoreDamaged(f"the store {self.url} has no file {what}") from error
        except (BaseError, OSError) as error:
            text = f"the store {self.url} failed while {verb} {what}: {short(error)}"
            raise StoreFailed(text, cure=cure_of(error)) from error


def _key(sha256: str) -> str:
    return f"{FOLDER}/{sha256[:2]}/{sha256}"


def _other_contents(sha256: str) -> StoreDamaged:
    return StoreDamaged(
        f"the file {sha256[:12]} of the store has other contents than its name promises",
        cure=f"remove {_key(sha256)} from the store, and find out who changed it",
    )


def short(error: Exception) -> str:
    """Return the first line of an error of the store's library, whose messages have many, and the store's own code."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].partition("<?xml")[0].rstrip(" :")[:300]
    code = _CODE.search(str(error))
    return f"{first} ({code[1]})" if code else first


def cure_of(error: Exception) -> str | None:
    """Return what helps against an error of the store's library; None for the usual cure."""
    code = _CODE.search(str(error))
    return _CURES.get(code[1]) if code else None
