"""Define ``report``, the command that makes a page of stored runs and nightly runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import completion
from harness.cli.app import app
from harness.cli.documents.files import FilesDocument, file_rows
from harness.cli.options import (
    DEFAULT_RESULTS,
    RUN_HELP,
    Json,
    Markdown,
    MarkdownCommand,
    ResultsDir,
    ResultsUrl,
    stored,
)
from harness.cli.output import STDOUT, exclusive, print_json, print_line, renamed, write_markdown
from harness.core.errors import UsageError
from harness.results import Run, RunNotFound, Store
from harness.results.nightly import NightlyNotFound, find_nightly, nightly_folders, read_nightly

PAGE = Path("report.html")


class AmbiguousName(UsageError):
    """The name is the beginning of both a run and a nightly run."""

    cure = "name more of it, or the nightly run with --night"


@app.command(
    cls=MarkdownCommand,
    epilog="Examples:\n\n  harness report\n\n  harness report latest~1 latest --output page.html\n\n"
    "  harness report --night latest\n\n  harness report latest --night latest --night 20260501-2100\n\n"
    "  harness report latest~2 latest~1 latest --markdown report.md",
)
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|NIGHTLY…",
            help=f"the first run is the baseline of the others: {RUN_HELP}; or a nightly run's id",
            autocompletion=completion.runs_and_nightly_runs,
        ),
    ] = None,
    nightly: Annotated[
        list[str] | None,
        typer.Option(
            "--night",
            metavar="NIGHTLY",
            help="a nightly run: its id, unique beginning, or latest; may be repeated",
            autocompletion=completion.nightly_runs,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="the page to write", show_default=str(PAGE))
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", hidden=True)] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    markdown: Markdown = None,
    as_json: Json = False,
) -> None:
    """Make one HTML file of runs and nightly runs: verdicts, pictures, tables and the raw data; no network needed.

    With --markdown the same figures as Markdown, and a page only where --output names one.
    """
    if out is not None:
        renamed("--out", "--output")
    exclusive({"--markdown": markdown, "--json": as_json})
    page = output or out or (None if markdown is not None else PAGE)
    runs, folders = named_results(
        stored(results_dir, results_url), names or ([] if nightly else ["latest"]), nightly or []
    )
    # Imported here because numpy and the template engine take half a second to load.
    from harness.report import to_markdown
    from harness.report.html import html_report, text_report, write_page

    nightly_runs = [read_nightly(folder) for folder in folders]
    if markdown is not None:
        write_markdown(to_markdown(text_report(runs, nightly_runs)), markdown)
    if page is None:
        return
    write_page(page, html_report(runs, nightly_runs))
    if as_json:
        print_json(FilesDocument(files=file_rows([page])))
    elif markdown != STDOUT:
        print_line(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")


def named_results(store: Store, names: list[str], nightly: list[str]) -> tuple[list[Run], list[Path]]:
    """Return the runs, and the folders of the nightly runs among ``names`` and of those named in ``nightly``.

    Raises RunNotFound and AmbiguousName.
    """
    nightly_runs = {folder.name: folder for folder in nightly_folders(store.with_nightly_runs())}
    runs: list[Run] = []
    folders: list[Path] = []
    for name in names:
        if name in nightly_runs:
            folders.append(nightly_runs[name])
            continue
        try:
            run = store.find(name)
        except RunNotFound as error:
            try:
                folders.append(find_nightly(store.root, name))
            except NightlyNotFound:
                raise error from None
            continue
        if name != run.run_id and any(nightly.startswith(name) for nightly in nightly_runs):
            raise AmbiguousName(f"{name!r} is the beginning of run {run.run_id} and of a nightly run")
        runs.append(run)
    # A run that was judged beside a baseline brings along the nightly run that judged it.
    gates = [gate for run in runs if (gate := run.manifest().gate)]
    folders += [find_nightly(store.root, name) for name in nightly]
    folders += [nightly_runs[gate.night_id] for gate in gates if gate.night_id in nightly_runs]
    return runs, [folder for folder in dict.fromkeys(folders) if store.with_nightly_runs(folder.name)]
