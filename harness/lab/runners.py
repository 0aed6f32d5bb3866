"""Keep the runners of a host's phones: each is fetched from the store once, and hashed again only if it changed."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

from harness.core.cache import Cache
from harness.core.store import FileStore
from harness.devices.base import Notify

SUFFIXES = ("", ".ipa", ".apk")


class Runners:
    """Hold the runners that all phones of one agent share, by their hashes."""

    def __init__(self, host: str, store: FileStore, cache: Cache) -> None:
        self._host, self._store, self._cache = host, store, cache
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._known: dict[str, tuple[Path, tuple[int, int, int]]] = {}
        """Files that were fetched and hashed, with their states then. The cache leaves alone what is in use."""

    def path(self, sha256: str, suffix: str, notify: Notify) -> Path:
        """Return a runner's file on this host. Raises StoreFailed, DiskFull and CacheBusy."""
        suffix = suffix if suffix in SUFFIXES else ""
        key, name = f"{sha256}{suffix}", f"device_runner{suffix}"
        with self._lock:
            lock = self._locks[key]
        # The phones of a host begin together, and the cache's own lock is looked at only twenty times a second.
        with lock:
            known = self._known.get(key)
            if known is not None and _state(known[0]) == known[1]:
                return known[0]

            def fetch(folder: Path) -> None:
                notify(f"{self._host} fetches the runner from the store")
                self._store.fetch(sha256, folder / name)
                (folder / name).chmod(0o755)

            path = self._cache.fetch("lab-runner", key, fetch) / name
            if (state := _state(path)) is not None:
                self._known[key] = (path, state)
            return path


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
