"""Commands about the installation: ``doctor`` and ``cache``."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cache import Cache
from harness.cli.app import app
from harness.doctor import check_installation
from harness.errors import ExitCode
from harness.shown import shown, shown_line

cache_app = typer.Typer(help="The content-addressed cache of archives, runtimes, runners and references.")
app.add_typer(cache_app, name="cache")

MIB = 1 << 20


@app.command(epilog="Example:\n\n  harness doctor")
def doctor() -> None:
    """Check compilers, packages and the cache; name the one command that mends each fault."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "what", "found", "mend it with"):
        table.add_column(title)
    checks = check_installation(Cache())
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("missing", style="bold red")
        table.add_row(
            mark, Text(shown_line(check.name)), Text(shown(check.found)), Text("" if check.ok else check.cure)
        )
    Console(file=sys.stdout).print(table)
    if not all(check.ok for check in checks):
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE))


@cache_app.command("show")
def show_cache() -> None:
    """List the cache's entries with their sizes."""
    cache = Cache()
    console = Console(file=sys.stdout)
    entries = cache.entries()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("kind", "entry", "MiB"):
        table.add_column(title, justify="right" if title == "MiB" else "left")
    for entry in entries:
        table.add_row(entry.kind, entry.key[:12], f"{entry.size / MIB:.1f}")
    console.print(f"{cache.root}: {len(entries)} entries, {sum(e.size for e in entries) / MIB:.0f} MiB", markup=False)
    console.print(table)


@cache_app.command("clear")
def clear_cache() -> None:
    """Remove every entry; the next run makes what it needs again."""
    cache = Cache()
    freed = cache.clear()
    print(f"{cache.root}: {freed / MIB:.0f} MiB freed")
