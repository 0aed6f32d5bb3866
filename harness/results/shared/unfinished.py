"""Keep what a run has written that has not ended: its files in *parts*, and a marker that names them in their order.

A part is written once, under the hash of its contents, before the marker that names it. So a marker never names what is
not there, and an upload that was killed is resumed behind the last part. Everything of a run is removed once the whole
run is there.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import obstore
from pydantic import ValidationError, field_validator

from harness.core.files import replacing
from harness.core.store import MISSING, FileStore
from harness.core.store_errors import StoreDamaged, StoreFailed
from harness.results.shared.remote import (
    KINDS,
    MOST_BYTES,
    SCHEMA_VERSION,
    FileFacts,
    Kept,
    Kind,
    check_name,
    names_below,
)

FOLDER = "unfinished"
MOST_PART_BYTES = 64 * 2**20
"""The most bytes of a part that is read."""


class UnfinishedMarker(Kept):
    """Describe what the store has of a run or nightly run that has not ended."""

    schema_version: int = SCHEMA_VERSION
    name: str
    files: dict[str, list[FileFacts]]
    """The parts of each file, by its name below the folder."""

    @field_validator("files")
    @classmethod
    def _are_below(cls, value: dict[str, list[FileFacts]]) -> dict[str, list[FileFacts]]:
        return names_below(value)


class Unfinished:
    """Hold the unfinished runs of one results store. Raises StoreFailed."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def names(self, kind: Kind) -> dict[str, str]:
        """Return the names of all that has not ended, each with a text that differs when there is more of it."""
        found: dict[str, str] = {}
        with self._files.trouble("listing", f"unfinished {kind}"):
            for batch in obstore.list(self._files.objects, prefix=f"{FOLDER}/{kind}"):
                for one in batch:
                    name = Path(one["path"]).stem
                    if one["path"] == f"{FOLDER}/{kind}/{name}.json":
                        found[name] = f"{FOLDER} {one['e_tag'] or one['last_modified']} {one['size']}"
        return found

    def marker(self, kind: Kind, name: str) -> UnfinishedMarker | None:
        """Return what there is of a run, None if there is nothing."""
        data = self._files.read(_key(kind, name), MOST_BYTES)
        if data is None:
            return None
        try:
            return UnfinishedMarker.model_validate_json(data)
        except ValidationError as error:
            raise StoreFailed(
                f"{_key(kind, name)} of the store cannot be read: {error.errors()[0]['msg']}",
                cure="remove it from the store; `harness sync` where the run was made uploads it again",
            ) from error

    def put_part(self, name: str, data: bytes) -> FileFacts:
        """Write a part of a run, unless it is there already."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._files.write_once(_part(name, sha256), data)
        return FileFacts(sha256=sha256, bytes=len(data))

    def put_marker(self, kind: Kind, name: str, files: Mapping[str, Sequence[FileFacts]]) -> None:
        """Write the marker of a run, after all parts that it names."""
        marker = UnfinishedMarker(name=name, files={file: list(parts) for file, parts in files.items()})
        self._files.replace(_key(kind, name), marker.model_dump_json().encode())

    def fetch(self, name: str, parts: Sequence[FileFacts], target: Path) -> None:
        """Write a file of a run, made of its parts, each of which is hashed; raises StoreDamaged."""
        with replacing(target) as partial, partial.open("wb") as stream:
            for part in parts:
                data = self._files.read(_part(name, part.sha256), MOST_PART_BYTES)
                if data is None:
                    raise StoreDamaged(f"the store {self._files.url} has lost a part of {name}")
                if hashlib.sha256(data).hexdigest() != part.sha256:
                    raise StoreDamaged(f"a part of {name} in the store has other contents than its name promises")
                stream.write(data)

    def remove(self, kind: Kind, name: str) -> None:
        """Remove what there is of a run, the marker first."""
        with self._files.trouble("removing what is unfinished of", name):
            for path in [_key(kind, name), *self._parts(name)]:
                with contextlib.suppress(*MISSING):  # somebody else removes it, too
                    obstore.delete(self._files.objects, path)

    def _parts(self, name: str) -> list[str]:
        batches = obstore.list(self._files.objects, prefix=f"{FOLDER}/parts/{check_name(name)}")
        return [one["path"] for batch in batches for one in batch]


def _key(kind: Kind, name: str) -> str:
    assert kind in KINDS
    return f"{FOLDER}/{kind}/{check_name(name)}.json"


def _part(name: str, sha256: str) -> str:
    return f"{FOLDER}/parts/{check_name(name)}/{sha256}"
