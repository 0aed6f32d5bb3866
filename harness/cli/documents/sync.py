"""The document about what was uploaded to a results store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Part


class UploadedRow(Part):
    kind: Literal["runs", "nightly", "baselines"]
    name: str
    files: int
    bytes: int
    """Of its files, those that were in the store under another name included."""
    rows: int
    """That were appended to the tables."""


class FailedRow(Part):
    name: str
    reason: str


class CompactedRow(Part):
    table: str
    before: int
    """Files that held its rows."""
    after: int


class SyncDocument(Document):
    """`harness sync`: what was uploaded, and what was not."""

    schema_name: Literal["harness.sync/1"] = Field(default="harness.sync/1", alias="schema")
    store: str
    dry_run: bool
    uploaded: list[UploadedRow]
    present: list[str]
    """What the store already had, unchanged."""
    pending: list[str]
    """What is left to upload: after an interruption or an error of the store, and with --dry-run."""
    waiting: list[str]
    """Runs that have not ended, and nightly runs that can be resumed."""
    so_far: list[str] = Field(default=[])
    """Those of them whose new measurements were uploaded."""
    failed: list[FailedRow]
    compacted: list[CompactedRow]
