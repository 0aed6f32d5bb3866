"""Define ``harness init``: set up a user's own project for the harness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.options import Json
from harness.cli.output import print_json


@app.command("init", epilog="Examples:\n\n  harness init --dry-run\n\n  harness init --json")
def init_command(
    folder: Annotated[Path, typer.Argument(help="the project's folder")] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only list what would be written")] = False,
    as_json: Json = False,
) -> None:
    """Write a small set-up into a project: an example model, pytest's configuration, and a CI workflow.

    No file that exists is changed; the lines for it are printed instead.
    """
    from harness.cli.project import plan_project, write_files

    plan = plan_project(folder)
    if not dry_run:
        write_files(plan.folder, plan.files)
    command = f"pytest {plan.option} host"
    if as_json:
        from harness.cli.documents.files import ProjectDocument

        print_json(
            ProjectDocument(
                folder=str(plan.folder),
                dry_run=dry_run,
                written=list(plan.files),
                kept=list(plan.kept),
                advice=list(plan.advice),
                command=command,
            )
        )
        return
    for name in plan.files:
        print(f"{'would write' if dry_run else 'wrote'} {name}")
    for name in plan.kept:
        print(f"kept {name}, which is there already")
    for advice in plan.advice:
        print(f"\n{advice}")
    print(f"\n{'Then' if plan.advice else 'Now'}: {command}")
