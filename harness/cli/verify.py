"""Define ``harness verify``: whether an app holds what was packaged and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.documents.files import VerifiedDocument
from harness.cli.options import DEFAULT_RESULTS, AnyResultsDir, Json, existing
from harness.cli.output import print_json, print_line
from harness.core.errors import ExitCode
from harness.native.apps.manifest import FILE_NAME as MANIFEST
from harness.native.apps.manifest import binary_faults, package_faults, read_manifest
from harness.results import Store


@app.command(
    epilog="Examples:\n\n  harness verify build/c\n\n  harness verify app.apk --manifest build/kotlin/manifest.json"
    "\n\n  harness verify build/c --run latest",
)
def verify(
    path: Annotated[Path, typer.Argument(help="a folder of `harness package`, an APK, an IPA, or a library")],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="the package's manifest.json; by default the folder's own")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="a run that has to have measured the same archive, such as latest")
    ] = None,
    results_dir: AnyResultsDir = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Compare an app or a package with what was packaged, and with what a run measured; exit code 1 if it differs."""
    wanted = read_manifest(manifest or path / MANIFEST)
    faults = list(package_faults(path, wanted)) if path.is_dir() and (path / MANIFEST).is_file() else []
    faults += binary_faults(path, wanted)
    if run is not None:
        measured = {
            facts.archive_sha256 for facts in Store(existing(results_dir)).find(run).manifest().variants.values()
        }
        if wanted.archive_sha256 not in measured:
            faults.append(f"the run measured another archive than {wanted.archive_sha256}")
    if as_json:
        sha256, models = wanted.archive_sha256, wanted.models
        print_json(VerifiedDocument(path=str(path), archive_sha256=sha256, models=models, faults=faults))
    else:
        for fault in faults:
            print_line(fault)
    if faults:
        raise typer.Exit(int(ExitCode.FAILURE))
    if not as_json:
        print_line(f"{path} holds {', '.join(wanted.models)} as compiled: archive {wanted.archive_sha256}")
