"""Describe a package for an app in ``manifest.json``, and compare packages and apps with it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.compiler.metadata import Archive
from harness.core.cache import hash_file
from harness.core.errors import HarnessError, UsageError
from harness.native.apps.contents import Content, archive_contents, missing_contents

FILE_NAME = "manifest.json"
MAX_BINARY_BYTES = 1 << 30
"""The largest file that is looked into: an app's is far smaller, and a zip file can claim any size."""
MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"!<arch>\n")
"""How ELF files, Mach-O files for one and for several processors, and static libraries begin."""


class UnreadablePackage(HarnessError):
    """What should be a package or an app cannot be read."""

    cure = "name a folder that `harness package` wrote, an APK, an IPA, or a library"


class PackagedFile(BaseModel):
    """Describe a file of a package."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str


class Manifest(BaseModel):
    """Describe a package: its archive, what of it an app's binary has to hold, and all files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    package: str
    """For what it was made, such as ``c``."""
    harness_version: str
    target: str
    archive_sha256: str
    models: list[str]
    contents: list[Content] = Field(min_length=1)
    files: dict[str, PackagedFile]
    """By their path in the package."""

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, PackagedFile]) -> dict[str, PackagedFile]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"{name!r} leads out of the package")
        return files


def make_manifest(folder: Path, archive: Archive, *, package: str, harness_version: str) -> Manifest:
    """Return the manifest of a folder whose other files are all there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    metadata = archive.metadata
    named = (["g2p"] if metadata.kind == "g2p" else []) + [model.name for model in metadata.models]
    return Manifest(
        package=package,
        harness_version=harness_version,
        target=metadata.target,
        archive_sha256=archive.sha256,
        models=named,
        contents=[*archive_contents(archive.path), *_tokenizers(archive)],
        files={
            path.relative_to(folder).as_posix(): PackagedFile(size=path.stat().st_size, sha256=hash_file(path))
            for path in paths
        },
    )


def _tokenizers(archive: Archive) -> Iterator[Content]:
    """Return the models' tokenizers, which the library has as they are in their files."""
    for model, path in archive.tokenizers.items():
        yield Content.of(f"the tokenizer of {model}", path.read_bytes())


def read_manifest(path: Path) -> Manifest:
    """Return a manifest; raises UsageError if it cannot be read."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", cure="name it with --manifest") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is no manifest: {where}: {first['msg']}", cure="make the package again") from error


def package_faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Return what differs between a package's files and its manifest, one per line."""
    for name, wanted in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif hash_file(path) != wanted.sha256:
            yield f"{name} is another file than was packaged"


def binary_faults(path: Path, manifest: Manifest) -> list[str]:
    """Return what the binary of an app lacks of the archive; of several binaries, that of the one that lacks least.

    Raises UnreadablePackage.
    """
    best: list[str] | None = None
    for name, binary in binaries(path):
        missing = missing_contents(binary, manifest.contents)
        if not missing:
            return []
        lines = [f"{name} lacks {one} as it was compiled" for one in missing]
        best = lines if best is None or len(lines) < len(best) else best
    return [f"{path.name} holds no library or program"] if best is None else best


def binaries(path: Path) -> Iterator[tuple[str, bytes]]:
    """Return the libraries and programs of a folder, an APK, an IPA or an AAR, or the one that the path is.

    Raises UnreadablePackage.
    """
    try:
        if path.is_dir():
            for one in sorted(path.rglob("*")):
                if one.is_file() and (data := _binary(one)) is not None:
                    yield one.relative_to(path).as_posix(), data
        elif zipfile.is_zipfile(path):
            yield from _zipped(path)
        elif (data := _binary(path)) is not None:
            yield path.name, data
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        # Of a zip file with a password, or packed in a way that Python does not know, the last two are raised.
        raise UnreadablePackage(f"cannot read {path}: {error}") from error


def _binary(path: Path) -> bytes | None:
    with path.open("rb") as file:
        if not file.read(8).startswith(MAGIC) or path.stat().st_size > MAX_BINARY_BYTES:
            return None
    return path.read_bytes()


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > MAX_BINARY_BYTES:
                continue
            with archive.open(entry) as file:
                if (begins := file.read(8)).startswith(MAGIC):
                    yield entry.filename, begins + file.read(MAX_BINARY_BYTES)
