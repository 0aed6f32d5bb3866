"""Share what all removing commands do: show the removal first, ask, and report what was freed."""

from __future__ import annotations

import sys
from typing import Annotated, Protocol

import typer

from harness.cli.documents.machine import KeptRow, RemovalDocument, RemovedRow
from harness.cli.output import note, print_json, print_line
from harness.cli.units import size_text
from harness.core.errors import UsageError

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="only list what would be removed")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
Force = Annotated[bool, typer.Option("--force", help="also what something else refers to")]


class Removal(Protocol):
    """Plan what is removed and what stays, before anything is touched."""

    @property
    def root(self) -> object: ...

    @property
    def sizes(self) -> dict[str, int]:
        """Return what will be removed, with its bytes."""

    @property
    def kept(self) -> dict[str, str]:
        """Return what stays although it was named, with the reason."""

    def carry_out(self) -> dict[str, int]:
        """Remove it; return what was removed, with its bytes."""


def remove(removal: Removal, what: str, *, dry_run: bool, yes: bool, as_json: bool = False) -> RemovalDocument:
    """Carry out a removal once the person has agreed; raises UsageError if nobody can be asked."""
    sizes = removal.sizes
    if not dry_run and not yes and sizes:
        _ask(f"{len(sizes)} {what}{'' if len(sizes) == 1 else 's'}, {size_text(sum(sizes.values()))}", sizes, as_json)
    removed = sizes if dry_run else removal.carry_out()
    return RemovalDocument(
        root=str(removal.root),
        dry_run=dry_run,
        removed=[RemovedRow(name=name, bytes=size) for name, size in removed.items()],
        kept=[KeptRow(name=name, reason=reason) for name, reason in removal.kept.items()],
        freed_bytes=0 if dry_run else sum(removed.values()),
    )


def _ask(question: str, names: dict[str, int], as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise UsageError(f"nothing was removed: {question}", cure="give --yes to remove them, or --dry-run to see them")
    for name in names:
        note(name)
    # This is not typer.confirm, which writes to standard output.
    sys.stderr.write(f"Remove {question}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort


def show_removal(document: RemovalDocument, *, as_json: bool) -> None:
    """Print what was removed, or would be, one name a line; the rest goes to standard error."""
    if as_json:
        print_json(document)
        return
    for removed in document.removed:
        print_line(removed.name)
    for kept in document.kept:
        note(f"{kept.name} stays: {kept.reason}")
    total = sum(removed.bytes for removed in document.removed)
    freed = "would be freed" if document.dry_run else "freed"
    note(f"{document.root}: {len(document.removed)} removed, {size_text(total)} {freed}")
