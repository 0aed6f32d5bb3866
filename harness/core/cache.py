"""Keep everything expensive in a content-addressed cache: it is made once, and verified whenever it is used.

An entry is a folder ``<root>/<kind>/<key>`` with a ``manifest.json`` of its files' sizes and SHA-256. It is
made under a lock in a temporary folder and renamed, so an entry is whole or absent; one that was damaged
afterwards is noticed by its hashes and made again.

A process that was given an entry holds a shared lock on ``<key>.use`` for as long as its ``Cache`` lives; the system
releases it when the process ends, however it ends. ``prune`` leaves such entries alone. The time of the manifest's
last change is when the entry was last used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock, Timeout

from harness.core.errors import HarnessError
from harness.core.hashes import hash_file as hash_file  # many import it from here

if TYPE_CHECKING:
    from harness.core.shared_cache import SharedCache

SHARED = "HARNESS_CACHE_URL"
"""The variable that names a store of entries that several machines share (:mod:`harness.core.shared_cache`)."""
MANIFEST = "manifest.json"
PARTIAL = ".partial"
LOCK_NOTICE_SECONDS = 2.0
LOCK_DEADLINE_SECONDS = 3600.0

Notice = Callable[[str], None]


class CacheBusy(HarnessError):
    """Another process has been making the same entry for too long."""

    cure = "wait for the other harness process, or end it; a killed one leaves no lock behind"


class DiskFull(HarnessError):
    """The disk has no room for what was being written."""

    cure = (
        "free some space (`harness cache prune --max-size 2G`, or `harness cache clear`) and run the same command again"
    )


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def room_for(what: str, folder: Path) -> Iterator[None]:
    """Raise DiskFull if writing ``what`` below ``folder`` fails because the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(f"no space left while writing {what} below {folder}") from error
        raise


def check_room(tool: str, output: str) -> None:
    """Raise DiskFull if the output of a failed tool reports a full disk."""
    if any(os.strerror(code) in output for code in NO_ROOM):
        raise DiskFull(f"{tool} found no space left on the disk:\n{output}")


@dataclass(frozen=True)
class CacheEntry:
    """Describe one entry as ``harness cache`` lists it."""

    kind: str
    key: str
    size: int
    folder: Path
    used: datetime
    """When it was last used, or made."""
    in_use: bool
    """True if a process works with it now."""

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.key}"


def cache_root() -> Path:
    """Return ``HARNESS_CACHE_DIR``, or the user's cache folder if it is not set."""
    configured = os.environ.get("HARNESS_CACHE_DIR")
    return Path(configured) if configured else platformdirs.user_cache_path("harness", appauthor=False)


def content_key(fields: dict[str, Any]) -> str:
    """Return the first 32 hex digits of the SHA-256 of the fields as canonical JSON."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


def hash_sources(paths: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 over names and contents of source files, independent of where the checkout lies."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


class Cache:
    """Hold the cache below one root folder; ``notice`` shows waits and repairs to the user."""

    def __init__(self, root: Path | None = None, notice: Notice | None = None) -> None:
        self.root = root or cache_root()
        self.notice = notice or (lambda _message: None)
        self._held: dict[Path, int] = {}
        """Open files by entry. The shared lock on each file marks its entry as in use."""
        weakref.finalize(self, _close_all, self._held)
        self._shared: SharedCache | None = None
        self._shared_sought = False

    def fetch(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """Return the entry's folder, made by ``build(folder)`` if it is missing or damaged.

        Archives are also sought in the cache that machines share, and given to it, if there is one. Raises CacheBusy,
        DiskFull, StoreMisuse, or whatever ``build`` raises; then nothing is left behind.
        """
        folder = self.root / kind / key
        shared = self._shared_of(kind)
        with room_for(f"the cache entry {kind}/{key[:12]}", self.root):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with self._lock(folder):
                if folder.exists():
                    damage = find_damage(folder)
                    if damage is None:
                        self.use(folder)
                        if shared is not None:
                            shared.give(kind, key, folder, read_manifest(folder))
                        return folder
                    self.notice(f"cache entry {kind}/{key[:12]} is damaged ({damage}); making it again")
                    shutil.rmtree(folder)
                taken: list[bool] = []

                def fill(partial: Path) -> None:
                    if shared is not None and shared.take(kind, key, partial):
                        taken.append(True)
                        return
                    build(partial)

                self._make(folder, fill)
                self.use(folder)
                if shared is not None and not taken:
                    shared.give(kind, key, folder, read_manifest(folder))
        return folder

    def has(self, kind: str, key: str) -> bool:
        """Return whether this machine or the machines that share have an entry, which may turn out to be damaged."""
        if (self.root / kind / key).exists():
            return True
        shared = self._shared_of(kind)
        return shared is not None and shared.has(kind, key)

    def shares(self, kind: str) -> bool:
        """Return whether the environment names a cache that machines share, and it has entries of that kind."""
        return self._shared_of(kind) is not None

    def _shared_of(self, kind: str) -> SharedCache | None:
        """Return the cache that machines share, if the environment names one and it has entries of that kind."""
        if not os.environ.get(SHARED):
            return None
        from harness.core.shared_cache import KINDS, SharedCache

        if kind not in KINDS:
            return None
        if not self._shared_sought:
            self._shared, self._shared_sought = SharedCache.of(self.notice), True
        return self._shared

    def _make(self, folder: Path, build: Callable[[Path], None]) -> None:
        partial = folder.with_name(folder.name + PARTIAL)
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

    def use(self, folder: Path) -> None:
        """Mark an entry as used now and in use from now on. A cache that cannot be written to is used unmarked."""
        with contextlib.suppress(OSError):
            os.utime(folder / MANIFEST)
        if folder in self._held:
            return
        with contextlib.suppress(OSError):
            self._held[folder] = descriptor = os.open(_use_lock(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def entries(self) -> list[CacheEntry]:
        """Return all entries in the order of their names. One that another process removes meanwhile is left out."""
        found = []
        for manifest in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            folder = manifest.parent
            with contextlib.suppress(FileNotFoundError):
                used = datetime.fromtimestamp(manifest.stat().st_mtime, timezone.utc)
                found.append(
                    CacheEntry(folder.parent.name, folder.name, folder_size(folder), folder, used, _in_use(folder))
                )
        return found

    def prunable(
        self, *, older_than: timedelta | None = None, max_size: int | None = None
    ) -> tuple[list[CacheEntry], list[CacheEntry]]:
        """Return the entries to remove, those used longest ago first, and those that are kept because they are in use.

        ``older_than`` chooses entries that were not used for so long. ``max_size`` chooses as many as are needed to
        bring the size of all entries down to so many bytes.
        """
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        oldest = datetime.now(timezone.utc) - older_than if older_than is not None else None
        size = sum(entry.size for entry in entries)
        chosen, busy = [], []
        for entry in entries:
            too_old = oldest is not None and entry.used < oldest
            if not too_old and (max_size is None or size <= max_size):
                continue
            if entry.in_use:
                busy.append(entry)
            else:
                chosen.append(entry)
                size -= entry.size
        return chosen, busy

    def remove(self, entry: CacheEntry) -> bool:
        """Remove one entry unless a process works with it or makes it; return whether it is gone.

        The entry is renamed first. So an interruption leaves either a whole entry or a folder that no one reads.
        """
        lock = FileLock(entry.folder.with_name(entry.folder.name + ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            if _in_use(entry.folder):
                return False
            partial = entry.folder.with_name(entry.folder.name + PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                entry.folder.rename(partial)
            shutil.rmtree(partial, ignore_errors=True)
            _use_lock(entry.folder).unlink(missing_ok=True)
        finally:
            lock.release()
        return True

    def remove_half_made(self) -> int:
        """Remove what killed processes left half made or half removed; return the bytes freed."""
        freed = 0
        for partial in self.root.glob(f"*/*{PARTIAL}"):
            lock = FileLock(partial.with_name(partial.name.removesuffix(PARTIAL) + ".lock"))
            with contextlib.suppress(Timeout), lock.acquire(timeout=0):
                size = folder_size(partial)
                shutil.rmtree(partial, ignore_errors=True)
                freed += size
        return freed

    def clear(self) -> int:
        """Remove every entry, half-made ones included; return the bytes freed."""
        size = folder_size(self.root)
        if self.root.exists():
            shutil.rmtree(self.root)
        return size


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder; the targets of links are not counted."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found += os.lstat(Path(parent) / name).st_size
    return found


def _use_lock(folder: Path) -> Path:
    return folder.with_name(folder.name + ".use")


def _in_use(folder: Path) -> bool:
    """Return whether a process holds the shared lock of an entry, this one included."""
    try:
        descriptor = os.open(_use_lock(folder), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _close_all(held: dict[Path, int]) -> None:
    for descriptor in held.values():
        os.close(descriptor)
    held.clear()


def _measure(folder: Path) -> dict[str, Any]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): {"size": p.stat().st_size, "sha256": hash_file(p)} for p in files}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the sizes and hashes of an entry's files by their names."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return found


def find_damage(folder: Path) -> str | None:
    """Return what is wrong with an entry's files, or None if nothing is."""
    try:
        manifest = read_manifest(folder)
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
