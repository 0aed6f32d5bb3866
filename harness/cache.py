"""The content-addressed cache: everything expensive is made once, verified whenever it is used.

An entry is a folder ``<root>/<kind>/<key>`` with a ``manifest.json`` of its files' sizes and SHA-256. It is
made under a lock in a temporary folder and renamed, so an entry is whole or absent; one that was damaged
afterwards is noticed by its hashes and made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from harness.errors import HarnessError

MANIFEST = "manifest.json"
CHUNK = 1 << 20
LOCK_NOTICE_SECONDS = 2.0
LOCK_DEADLINE_SECONDS = 3600.0

Notice = Callable[[str], None]


class CacheBusy(HarnessError):
    """Another process has been making the same entry for too long."""

    cure = "wait for the other harness process, or end it; a killed one leaves no lock behind"


class DiskFull(HarnessError):
    """The disk has no room for what was being written."""

    cure = "free some space (`harness cache clear` empties the cache) and run the same command again"


@dataclass(frozen=True)
class CacheEntry:
    """One entry as ``harness cache`` lists it."""

    kind: str
    key: str
    size: int
    folder: Path


def cache_root() -> Path:
    """``HARNESS_CACHE_DIR`` or the user's cache folder."""
    configured = os.environ.get("HARNESS_CACHE_DIR")
    return Path(configured) if configured else platformdirs.user_cache_path("harness", appauthor=False)


def content_key(fields: dict[str, Any]) -> str:
    """SHA-256 (first 32 hex digits) of the fields as canonical JSON."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def hash_sources(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over names and contents of source files, independent of where the checkout lies."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


class Cache:
    """The cache below one root folder; ``notice`` tells the user of waits and repairs."""

    def __init__(self, root: Path | None = None, notice: Notice | None = None) -> None:
        self.root = root or cache_root()
        self.notice = notice or (lambda _message: None)

    def fetch(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """The entry's folder, made by ``build(folder)`` if it is missing or damaged.

        Raises CacheBusy, DiskFull, or whatever ``build`` raises; then nothing is left behind.
        """
        folder = self.root / kind / key
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with self._lock(folder):
                if folder.exists():
                    damage = find_damage(folder)
                    if damage is None:
                        return folder
                    self.notice(f"cache entry {kind}/{key[:12]} is damaged ({damage}); making it again")
                    shutil.rmtree(folder)
                self._make(folder, build)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no space left while writing the cache entry {kind}/{key[:12]} below {self.root}"
                ) from error
            raise
        return folder

    def _make(self, folder: Path, build: Callable[[Path], None]) -> None:
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            build(partial)
            (partial / MANIFEST).write_text(json.dumps(_measure(partial), indent=1) + "\n", encoding="utf-8")
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    @contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        lock = FileLock(folder.with_name(folder.name + ".lock"))
        name = f"{folder.parent.name}/{folder.name[:12]}"
        try:
            lock.acquire(timeout=LOCK_NOTICE_SECONDS)
        except Timeout:
            self.notice(f"waiting for another harness process that makes {name} …")
            try:
                lock.acquire(timeout=LOCK_DEADLINE_SECONDS)
            except Timeout as error:
                raise CacheBusy(f"{name} has been locked for {LOCK_DEADLINE_SECONDS:.0f} s") from error
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> list[CacheEntry]:
        found = []
        for manifest in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            folder = manifest.parent
            size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            found.append(CacheEntry(folder.parent.name, folder.name, size, folder))
        return found

    def clear(self) -> int:
        """Remove every entry, half-made ones included; returns the bytes freed."""
        size = sum(p.stat().st_size for p in self.root.rglob("*") if p.is_file() and not p.is_symlink())
        if self.root.exists():
            shutil.rmtree(self.root)
        return size


def _measure(folder: Path) -> dict[str, Any]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): {"size": p.stat().st_size, "sha256": hash_file(p)} for p in files}


def find_damage(folder: Path) -> str | None:
    """What is wrong with an entry's files, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["size"]:
                return f"{name} has {path.stat().st_size} bytes instead of {expected['size']}"
            if hash_file(path) != expected["sha256"]:
                return f"{name} has other contents"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its manifest cannot be read: {error}"
    return None
