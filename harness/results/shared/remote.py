"""Read and write the files and markers of a results store.

Who reads a marker can fetch every file that it names, since it is written after all of them. A marker is replaced as a
whole when its run has changed, and the files that the old one named stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import obstore
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from harness.core.store import MISSING, ONE_REQUEST, FileStore
from harness.core.store_errors import StoreFailed

Kind = Literal["runs", "nightly", "baselines"]
KINDS: tuple[Kind, ...] = ("runs", "nightly", "baselines")
SCHEMA_VERSION = 1
MOST_BYTES = 16 * 2**20
"""The most bytes of a marker."""
_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def names_below(files: dict[str, _T]) -> dict[str, _T]:
    """Return files by their names; raises ValueError for a name that leaves its folder."""
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or "\0" in name or {"..", "."} & set(parts):
            raise ValueError("a file has a name that leaves its folder")
    return files


class FileFacts(Kept):
    sha256: str
    bytes: int

    @field_validator("sha256")
    @classmethod
    def _is_hash(cls, value: str) -> str:
        if not _SHA256.fullmatch(value):
            raise ValueError("not a hash")
        return value


class Marker(Kept):
    """Describe a whole run, nightly run or baseline in the store."""

    schema_version: int = SCHEMA_VERSION
    name: str
    generation: int = 1
    """How often its rows were written: 1, or more if the run changed after it was uploaded."""
    files: dict[str, FileFacts]
    """By their names below the folder, with slashes."""

    @field_validator("files")
    @classmethod
    def _are_below(cls, value: dict[str, FileFacts]) -> dict[str, FileFacts]:
        return names_below(value)


class Remote:
    """Hold one results store; raises StoreMisuse for a wrong address, and StoreFailed later."""

    def __init__(self, url: str, *, patience: timedelta) -> None:
        self.files = FileStore(url, patience=patience)
        self.url = self.files.url

    def names(self, kind: Kind) -> dict[str, str]:
        """Return the names of all that is whole, in their order, each with a text that differs when it has changed."""
        found: dict[str, str] = {}
        with self.files.trouble("listing", kind):
            for batch in obstore.list(self.files.objects, prefix=kind):
                for one in batch:
                    path = PurePosixPath(one["path"])
                    if path.suffix == ".json" and str(path.parent) == kind and _NAME.fullmatch(path.stem):
                        found[path.stem] = f"{one['e_tag'] or one['last_modified']} {one['size']}"
        return dict(sorted(found.items()))

    def marker(self, kind: Kind, name: str) -> Marker | None:
        """Return what is in the store of a run, nightly run or baseline; None if it is not whole there."""
        try:
            with self.files.trouble("giving", name):
                found = obstore.get(self.files.objects, _key(kind, name))
                if found.meta["size"] > MOST_BYTES:
                    raise StoreFailed(f"the marker {_key(kind, name)} of the store is too large")
                data = bytes(found.bytes())
        except StoreFailed as error:
            if isinstance(error.__cause__, MISSING):
                return None
            raise
        return parse_marker(data, kind, name)

    def put_marker(self, kind: Kind, marker: Marker) -> None:
        """Write a marker, after all that it names."""
        with self.files.trouble("taking", marker.name):
            obstore.put(self.files.objects, _key(kind, marker.name), marker.model_dump_json(indent=1).encode())

    def put_files(self, files: Mapping[str, Path], snapshots: Path) -> dict[str, FileFacts]:
        """Upload files that may change meanwhile; return what was uploaded. ``snapshots`` is a folder for copies."""
        return {name: self._put(path, snapshots) for name, path in files.items()}

    def _put(self, path: Path, snapshots: Path) -> FileFacts:
        with path.open("rb") as stream:
            data = stream.read(ONE_REQUEST + 1)
            if len(data) <= ONE_REQUEST:
                return FileFacts(sha256=self.files.put_bytes(data, path.name), bytes=len(data))
            copy = snapshots / path.name
            try:
                with copy.open("wb") as file:
                    while data:
                        file.write(data)
                        data = stream.read(ONE_REQUEST)
                return FileFacts(sha256=self.files.put(copy), bytes=copy.stat().st_size)
            finally:
                copy.unlink(missing_ok=True)


def parse_marker(data: bytes, kind: Kind, name: str) -> Marker:
    """Return the marker that these bytes are; raises StoreFailed."""
    try:
        marker = Marker.model_validate_json(data)
    except ValidationError as error:
        raise StoreFailed(
            f"the marker {_key(kind, name)} of the store cannot be read: {error.errors()[0]['msg']}",
            cure="remove it from the store and run `harness sync` where the run was made",
        ) from error
    if marker.schema_version > SCHEMA_VERSION:
        raise StoreFailed(f"{name} was uploaded by a newer harness", cure="update the harness")
    return marker


def check_name(name: str) -> str:
    """Return the name of a run, nightly run or baseline; raises StoreFailed if it is none."""
    if not _NAME.fullmatch(name):
        raise StoreFailed(f"{name[:80]!r} names nothing in a results store")
    return name


def _key(kind: Kind, name: str) -> str:
    return f"{kind}/{check_name(name)}.json"
