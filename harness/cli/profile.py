"""Define ``profile``, the command that shows where a run's time went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.documents.files import FilesDocument, file_rows
from harness.cli.options import DEFAULT_RESULTS, Json, Markdown, MarkdownCommand, ResultsDir, RunName
from harness.cli.output import exclusive, print_json, print_line, terminal, write_markdown
from harness.core.errors import UsageError
from harness.results import Run, Store


class NoProfile(UsageError):
    """A run was made without a profile."""

    cure = "make one with it: pytest suites --device host --profile"


@app.command(
    cls=MarkdownCommand,
    epilog="Examples:\n\n  harness profile\n\n  harness profile latest --sites --markdown profile.md\n\n"
    "  harness profile latest --trace trace.json",
)
def profile(
    run: RunName = "latest",
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace", metavar="FILE", help="write a trace for Perfetto or chrome://tracing instead of printing tables"
        ),
    ] = None,
    sites: Annotated[bool, typer.Option("--sites", help="also every call of a kernel by itself")] = False,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    markdown: Markdown = None,
    as_json: Json = False,
) -> None:
    """Show a run's time per operator and per module, of each of its models."""
    exclusive({"--markdown": markdown, "--json": as_json})
    found = Store(results_dir).find(run)
    summaries = found.profiles()
    if not summaries:
        raise NoProfile(f"run {found.run_id} has no profile")
    if trace is not None:
        _write_trace(trace, found)
        if as_json:
            print_json(FilesDocument(files=file_rows([trace])))
        else:
            print_line(f"{trace} ({trace.stat().st_size / 1e6:.1f} MB)")
        return
    # Imported here because the statistics take a second to load.
    if as_json:
        from harness.cli.documents.findings import ProfileDocument

        print_json(ProfileDocument(run=found.run_id, models=summaries))
        return
    from harness.report import to_markdown, to_terminal
    from harness.report.profile import profile_report

    blocks = [block for summary in summaries for block in profile_report(summary, sites=sites)]
    if markdown is not None:
        write_markdown(to_markdown(blocks), markdown)
    else:
        to_terminal(blocks, terminal())


def _write_trace(path: Path, run: Run) -> None:
    """Write the trace under another name, then rename it.

    Raises StorageFull or StorageUnwritable, RunDamaged, BadMarks.
    """
    from harness.profiling.trace import chrome_trace
    from harness.results.files import write_text_atomically

    provenance = run.provenance()
    if provenance is None:
        raise NoProfile(f"run {run.run_id} has no provenance of its profile")
    words = {line.item: f"{line.label} ({line.subset})" for line in run.reference() if line.subset}
    device = run.manifest().device
    title = f"{device.get('name', '?')}, run {run.run_id}{', emulated' if device.get('emulated') else ''}"
    found = chrome_trace(run.profile_lines(), provenance, words, title)
    write_text_atomically(path, json.dumps(found, ensure_ascii=False))
