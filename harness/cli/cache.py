"""Define the commands about the cache: ``cache show | prune | clear``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.documents.machine import CacheDocument, CacheEntryRow, KeptRow, RemovalDocument, RemovedRow
from harness.cli.options import Json
from harness.cli.output import note, print_json, print_line, print_table
from harness.cli.removal import DryRun, show_removal
from harness.cli.units import AGE, SIZE, parse_age, parse_size, size_text
from harness.core.cache import Cache, CacheEntry, folder_size
from harness.core.errors import UsageError

cache_app = typer.Typer(
    help="The content-addressed cache of archives, runtimes, runners and references.",
    no_args_is_help=True,
    epilog="Examples:\n\n  harness cache show\n\n  harness cache prune --older-than 30d --max-size 10G",
)
app.add_typer(cache_app, name="cache")

HALF_MADE = "half-made entries"


@cache_app.command("show", epilog="Examples:\n\n  harness cache show\n\n  harness cache show --json")
def show_cache(as_json: Json = False) -> None:
    """List the cache's entries with their sizes, those used last first."""
    cache = Cache()
    entries = sorted(cache.entries(), key=lambda entry: entry.used, reverse=True)
    size = sum(entry.size for entry in entries)
    document = CacheDocument(
        root=str(cache.root),
        bytes=size,
        other_bytes=max(0, folder_size(cache.root) - size),
        entries=[
            CacheEntryRow(
                kind=entry.kind,
                key=entry.key,
                bytes=entry.size,
                used=entry.used.isoformat(timespec="seconds"),
                in_use=entry.in_use,
            )
            for entry in entries
        ],
    )
    if as_json:
        print_json(document)
        return
    print_line(
        f"{document.root}: {len(document.entries)} entries, {size_text(document.bytes)}, and "
        f"{size_text(document.other_bytes)} of build folders and the like"
    )
    rows = [(row.kind, row.key[:12], f"{row.bytes / (1 << 20):.1f}", _when(row)) for row in document.entries]
    print_table(("kind", "entry", "MiB", "used"), rows, right=("MiB",))


def _when(row: CacheEntryRow) -> str:
    return "now" if row.in_use else row.used[:16].replace("T", " ")


@cache_app.command(
    "prune",
    epilog="Examples:\n\n  harness cache prune --older-than 30d\n\n  harness cache prune --max-size 10G --dry-run",
)
def prune_cache(
    older: Annotated[
        timedelta | None,
        typer.Option("--older-than", metavar=AGE, parser=parse_age, help="what was not used for so long, such as 30d"),
    ] = None,
    max_size: Annotated[
        int | None,
        typer.Option(
            "--max-size",
            metavar=SIZE,
            parser=parse_size,
            help="what was used longest ago, until the rest fits, such as 10G",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove entries that were not used for long; a running session keeps those that it works with."""
    if older is None and max_size is None:
        raise UsageError("no limit was named", cure="give --older-than 30d, --max-size 10G, or both")
    cache = Cache()
    chosen, busy = cache.prunable(older_than=older, max_size=max_size)
    kept = {entry.name: "a process works with it" for entry in busy}
    removed: list[CacheEntry] = []
    half_made = 0
    if not dry_run:
        half_made = cache.remove_half_made()
        for entry in chosen:
            if cache.remove(entry):
                removed.append(entry)
            else:
                kept[entry.name] = "a process has begun to work with it"
    rows = [RemovedRow(name=entry.name, bytes=entry.size) for entry in (chosen if dry_run else removed)]
    rows += [RemovedRow(name=HALF_MADE, bytes=half_made)] if half_made else []
    document = RemovalDocument(
        root=str(cache.root),
        dry_run=dry_run,
        removed=rows,
        kept=[KeptRow(name=name, reason=reason) for name, reason in kept.items()],
        freed_bytes=0 if dry_run else sum(row.bytes for row in rows),
    )
    show_removal(document, as_json=as_json)


@cache_app.command("clear", epilog="Examples:\n\n  harness cache clear\n\n  harness cache clear --json")
def clear_cache(as_json: Json = False) -> None:
    """Remove every entry, also those in use; the next run makes what it needs again."""
    cache = Cache()
    entries = cache.entries()
    if any(entry.in_use for entry in entries):
        note("another harness process is working with the cache and may fail now")
    freed = cache.clear()
    if as_json:
        removed = [RemovedRow(name=entry.name, bytes=entry.size) for entry in entries]
        print_json(RemovalDocument(root=str(cache.root), dry_run=False, removed=removed, kept=[], freed_bytes=freed))
    else:
        print_line(f"{cache.root}: {size_text(freed)} freed")
