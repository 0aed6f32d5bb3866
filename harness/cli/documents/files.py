"""Documents about what a command wrote, and about answers that are tables of any shape."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.cli.documents.base import Document, Facts, Part


class FileRow(Part):
    path: str
    bytes: int
    """Of a folder, of all files in it."""


class FilesDocument(Document):
    """`harness export`, `report`, `profile --trace` and `selftest`: the files that were written or copied."""

    schema_name: Literal["harness.files/1"] = Field(default="harness.files/1", alias="schema")
    files: list[FileRow]


class ProjectDocument(Document):
    """`harness init`: the files of a project that was set up, by their names below its folder."""

    schema_name: Literal["harness.project/1"] = Field(default="harness.project/1", alias="schema")
    folder: str
    dry_run: bool
    """Whether the files would be written, and were not."""
    written: list[str]
    kept: list[str]
    """Files that were there already, and are unchanged."""
    advice: list[str]
    """Lines to add to existing files."""
    command: str
    """What to run then."""


class CompiledDocument(Document):
    """`harness compile`, `compile-smoke` and `package`: the files that were written, and their metadata."""

    schema_name: Literal["harness.compiled/1"] = Field(default="harness.compiled/1", alias="schema")
    target: str
    files: list[FileRow]
    metadata: Facts
    """The contents of system_lib_metadata.json (docs/metadata.md); empty for the smoke model."""


class LinkEnvDocument(Document):
    """`harness link-env`: the environment that links a model into a cargo build."""

    schema_name: Literal["harness.link-env/1"] = Field(default="harness.link-env/1", alias="schema")
    variables: dict[str, str]


class VerifiedDocument(Document):
    """`harness verify`: what an app or a package lacks of what was packaged."""

    schema_name: Literal["harness.verified/1"] = Field(default="harness.verified/1", alias="schema")
    path: str
    archive_sha256: str
    """The archive of the manifest."""
    models: list[str]
    faults: list[str]
    """What differs, a sentence each; empty if nothing does."""


class Column(Part):
    name: str
    type: str
    """DuckDB's name of its type."""


class QueryDocument(Document):
    """`harness query`: the rows of an answer, each a list in the order of ``columns``."""

    schema_name: Literal["harness.query/1"] = Field(default="harness.query/1", alias="schema")
    columns: list[Column]
    rows: list[list[Any]]


class SchemaRow(Part):
    schema_name: str = Field(alias="schema")
    printed_by: str


class SchemasDocument(Document):
    """`harness schema`: the kinds of documents."""

    schema_name: Literal["harness.schemas/1"] = Field(default="harness.schemas/1", alias="schema")
    schemas: list[SchemaRow]


def file_rows(paths: Iterable[Path]) -> list[FileRow]:
    return [FileRow(path=str(path), bytes=_size(path)) for path in paths]


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(found.stat().st_size for found in path.rglob("*") if found.is_file())
    return path.stat().st_size
