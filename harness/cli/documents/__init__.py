"""What commands print with ``--json``: documents with a named, versioned schema (docs/json.md).

The terminal's tables are made from the same objects. Nothing is imported here: listing runs should not wait for the
statistics libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.documents.base import Document

__all__ = ["documents"]


def documents() -> list[type[Document]]:
    """Return every kind of document, in the order of docs/json.md."""
    from harness.cli.documents import comparison, files, findings, lab, machine, nightly, run, runs, sync

    return [
        runs.RunsDocument,
        run.RunDocument,
        comparison.ComparisonDocument,
        findings.ProfileDocument,
        findings.ExplanationDocument,
        files.QueryDocument,
        nightly.NightlyDocument,
        nightly.NightlyRunsDocument,
        nightly.CalibrationDocument,
        nightly.BaselinesDocument,
        nightly.BaselineDocument,
        machine.DevicesDocument,
        machine.PairedDocument,
        machine.ReleasedDocument,
        lab.LabDocument,
        lab.TrendsDocument,
        lab.LabCompiledDocument,
        lab.TokensDocument,
        lab.TokenMadeDocument,
        lab.TokenRevokedDocument,
        machine.DoctorDocument,
        machine.ToolchainsDocument,
        machine.CacheDocument,
        machine.RemovalDocument,
        sync.SyncDocument,
        files.ProjectDocument,
        files.CompiledDocument,
        files.LinkEnvDocument,
        files.VerifiedDocument,
        files.FilesDocument,
        files.SchemasDocument,
    ]
