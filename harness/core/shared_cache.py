"""Share cache entries with other machines through a store, so that a team makes each of them once.

An entry is a small manifest at ``cache/1/KIND/KEY.json``, which is written last and only once, and names its files by
their hashes. So an entry is whole or absent, and writers of the same entry do not disturb each other.

Anyone who can write to the store could replace an entry by their library, and an archive is linked into
programs that are run. So manifests are signed with a key that the team shares (HMAC-SHA256 over the kind, the key and
the files). An entry whose signature or whose files are missing or wrong is made again here, and replaces the damaged
one in the store. Without a key nothing is read, unless the store is declared to be private.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core.errors import HarnessError
from harness.core.store_errors import StoreDamaged, StoreFailed, StoreMisuse, require_store

if TYPE_CHECKING:
    from harness.core.store import FileStore

URL, KEY, UNSIGNED = "HARNESS_CACHE_URL", "HARNESS_CACHE_KEY", "HARNESS_CACHE_UNSIGNED"
KINDS = frozenset({"archives"})
"""What is shared: what takes minutes to make and is the same on every machine."""
LEAST_KEY = 32
"""The fewest characters of a key."""
MOST_MANIFEST, MOST_FILES = 2**20, 1000
PATIENCE = timedelta(seconds=5)
"""A store that does not answer for so long is left alone by this process from then on."""
_NAME = re.compile(r"(?!\.)[A-Za-z0-9_][A-Za-z0-9._+-]*(?:/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_SHA256 = r"^[0-9a-f]{64}$"
Notice = Callable[[str], None]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)


class _Entry(BaseModel):
    """Describe an entry as it is in the store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    kind: str
    key: str
    files: dict[str, _File] = Field(max_length=MOST_FILES)
    signature: str = ""
    """Empty where the store is private."""

    def signed_by(self, secret: bytes) -> str:
        """Return the signature that the entry should have."""
        said = json.dumps(self.model_dump(mode="json", exclude={"signature"}), sort_keys=True)
        return hmac.new(secret, said.encode(), hashlib.sha256).hexdigest()


class SharedCache:
    """Take entries from a store and upload those that were made here. After a failure use only this machine's."""

    def __init__(self, url: str, secret: bytes | None, notice: Notice) -> None:
        from harness.core.store import FileStore

        self.url = url
        self._secret = secret
        self._notice = notice
        self._away = False
        self._store: FileStore
        try:
            self._store = FileStore(url, patience=PATIENCE)
        except StoreFailed as error:
            self._leave(error)
        self._there: set[str] = set()
        """The entries that the store is known to have."""
        self._damaged: set[str] = set()
        """Those that could not be used: what was made in their place is written over them, once."""

    @classmethod
    def of(cls, notice: Notice, environment: Mapping[str, str] = os.environ) -> SharedCache | None:
        """Return the cache that the environment names, None if it names none.

        Raises StoreMisuse for a wrong address or key, and if neither a key nor the word of a private store is given.
        """
        url, key = environment.get(URL), environment.get(KEY)
        if not url:
            return None
        if key and len(key) < LEAST_KEY:
            raise StoreMisuse(
                f"{KEY} has {len(key)} characters", cure=f"give at least {LEAST_KEY}: openssl rand -hex 32"
            )
        if not key and environment.get(UNSIGNED) != "1":
            raise StoreMisuse(
                f"{URL} is set without {KEY}: anyone who can write there could make you run their code",
                cure=f"set {KEY} to the team's key (openssl rand -hex 32), or {UNSIGNED}=1 if the store is yours alone",
            )
        require_store()
        return cls(url, key.encode() if key else None, notice)

    def has(self, kind: str, key: str) -> bool:
        """Return whether the store has an entry of that name."""
        try:
            return not self._away and self._store.has(_name(kind, key))
        except HarnessError as error:
            self._leave(error)
            return False

    def take(self, kind: str, key: str, folder: Path) -> bool:
        """Fill an empty folder with an entry's verified files; return False if there is none that can be used."""
        name = _name(kind, key)
        try:
            if self._away or (text := self._store.read(name, MOST_MANIFEST)) is None:
                return False
            entry = self._checked(text, kind, key)
            for path, file in entry.files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._store.fetch(file.sha256, target)
                if target.stat().st_size != file.size:
                    raise StoreDamaged(f"{path} has another size than its entry promises")
        except StoreDamaged as error:
            self._damaged.add(name)
            self._notice(f"{name} of the shared cache cannot be used, and is made here: {error.args[0]}")
        except HarnessError as error:
            self._leave(error)
        else:
            self._there.add(name)
            return True
        _empty(folder)
        return False

    def give(self, kind: str, key: str, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Put an entry into the store unless it has one that can be used.

        ``files`` are the names with ``size`` and ``sha256``.
        """
        name = _name(kind, key)
        mending = name in self._damaged
        try:
            if self._away or (not mending and (name in self._there or self._store.has(name))):
                self._there.add(name)
                return
            entry = _Entry.model_validate({"format": 1, "kind": kind, "key": key, "files": files})
            for path, file in entry.files.items():
                if self._store.put(folder / path, again=mending) != file.sha256:
                    raise StoreDamaged(f"{path} was changed while it was given to the store")
            if self._secret is not None:
                entry = entry.model_copy(update={"signature": entry.signed_by(self._secret)})
            text = (entry.model_dump_json(indent=1) + "\n").encode()
            if mending:
                self._damaged.discard(name)
                self._store.replace(name, text)
            else:
                self._store.write_once(name, text)
        except HarnessError as error:
            self._leave(error)
        else:
            self._there.add(name)

    def _checked(self, text: bytes, kind: str, key: str) -> _Entry:
        try:
            entry = _Entry.model_validate_json(text)
        except ValidationError as error:
            raise StoreDamaged(f"it is not an entry: {error.errors()[0]['msg']}") from error
        if (entry.format, entry.kind, entry.key) != (1, kind, key):
            raise StoreDamaged("it is another entry's")
        if self._secret is not None and not hmac.compare_digest(entry.signature, entry.signed_by(self._secret)):
            raise StoreDamaged("it is not signed with this team's key")
        if bad := [path for path in entry.files if not _NAME.fullmatch(path)]:
            raise StoreDamaged(f"{bad[0]!r} is no name of a file")
        return entry

    def _leave(self, error: HarnessError) -> None:
        """Report once that the store fails, and use it no more."""
        if not self._away:
            self._away = True
            self._notice(f"the shared cache fails, and this machine's own continues alone: {error.args[0]}")


def _name(kind: str, key: str) -> str:
    return f"cache/1/{kind}/{key}.json"


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
