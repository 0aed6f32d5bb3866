"""Define ``harness sync``: upload to the results store whatever is not there yet."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import completion
from harness.cli.app import INTERRUPTED, app
from harness.cli.documents.sync import CompactedRow, FailedRow, SyncDocument, UploadedRow
from harness.cli.options import DEFAULT_RESULTS, Json, ResultsDir, UploadTo
from harness.cli.output import note, print_json, print_line, print_table
from harness.cli.units import size_text
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.core.interruptible import interruptible
from harness.results.shared import named_url, uploader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.results.shared.sync import Sync
    from harness.results.shared.upload import Item

TITLES = ("uploaded", "name", "files", "size", "rows")


@app.command(
    epilog="Examples:\n\n  harness sync --results-url s3://team-bench/results\n\n  harness sync latest --json"
    "\n\n  harness sync --dry-run\n\n  harness sync --compact\n\n  harness sync --adopt 20261130-120000-123-abcd",
)
def sync(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|NIGHTLY|BASELINE…",
            help="only these; all unless given",
            autocompletion=completion.runs_and_nightly_runs,
        ),
    ] = None,
    results_url: Annotated[str | None, UploadTo] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    compact: Annotated[
        bool, typer.Option("--compact", help="then write the store's many small files as few large ones")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="the named runs are unfinished ones in the store, of machines that are gone: end them as incomplete",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="only list what would be uploaded")] = False,
    as_json: Json = False,
) -> None:
    """Upload runs, nightly runs and baselines that the results store lacks, or has as they were before.

    It may be interrupted and run again at any time: nothing is uploaded twice. Runs that are still
    being written are left out.
    """
    to = uploader(url := named_url(results_url))
    # Imported here because the packages of the extra `lab` take half a second to load, and may be missing.
    from harness.report.progress import TerminalProgress
    from harness.results.shared.sync import adopted, planned

    if adopt and not names:
        raise UsageError("--adopt needs the names of runs", cure=f"harness runs --results-url {url} shows them")
    plan, trouble = adopted(url, names or ()) if adopt else planned(results_dir, names or ()), None
    if dry_run:
        pending = [item for item in plan.items if to.lacks(item)]
        present = [item.name for item in plan.items if item not in pending]
        _show(_document(url, plan, pending, present, dry_run=True), as_json=as_json)
        return

    def work() -> None:
        plan.carry_out(to)
        if compact:
            plan.compact(to)

    try:
        with TerminalProgress(sys.stderr).stage(f"uploading to {url}") as stage:

            def look() -> None:
                stage.describe(plan.doing)
                if plan.items:
                    stage.advance(plan.done, len(plan.items))

            interruptible(work, look)
    except HarnessError as error:
        trouble = error
    except KeyboardInterrupt:
        _show(_document(url, plan, *plan.rest, dry_run=False), as_json=as_json)
        note("interrupted; complete uploads are kept, and `harness sync` continues from there")
        sys.stdout.flush()
        sys.stderr.flush()
        # The thread is inside of a library and would be met by an interpreter that is being taken apart.
        os._exit(INTERRUPTED)
    _show(_document(url, plan, *plan.rest, dry_run=False), as_json=as_json)
    if trouble is not None:
        raise trouble
    if plan.failed:
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE))


def _document(url: str, plan: Sync, pending: Sequence[Item], present: list[str], *, dry_run: bool) -> SyncDocument:
    new = [one for one in plan.uploaded if one.new]
    return SyncDocument(
        store=url,
        dry_run=dry_run,
        uploaded=[
            UploadedRow(kind=one.kind, name=one.name, files=one.files, bytes=one.bytes, rows=one.rows) for one in new
        ],
        present=present,
        pending=[item.name for item in pending],
        waiting=plan.waiting,
        so_far=plan.unfinished,
        failed=[FailedRow(name=name, reason=reason) for name, reason in plan.failed.items()],
        compacted=[CompactedRow(table=name, before=a, after=b) for name, (a, b) in plan.compacted.items()],
    )


def _show(document: SyncDocument, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    if document.uploaded:
        rows = [(one.kind, one.name, str(one.files), size_text(one.bytes), str(one.rows)) for one in document.uploaded]
        print_table(TITLES, rows, right=TITLES[2:])
    if document.compacted:
        files = [(one.table, str(one.before), str(one.after)) for one in document.compacted]
        print_table(("table", "files before", "after"), files, right=("files before", "after"))
    for name in document.pending:
        print_line(f"{name}: to upload")
    for failed in document.failed:
        note(f"{failed.name} cannot be uploaded: {failed.reason}")
    for name in document.waiting:
        so_far = "; what it measured so far was uploaded" if name in document.so_far else ", and is left out"
        note(f"{name} has not ended{so_far}")
    counts = [f"{len(document.uploaded)} uploaded", f"{len(document.present)} were there"]
    if document.pending:
        counts.append(f"{len(document.pending)} to upload")
    note(f"{document.store}: {', '.join(counts)}")
