"""Commands about Rust for other machines: ``toolchain install`` and ``toolchain show``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cache import Cache
from harness.cli.app import app
from harness.native.compilers import ToolchainMissing
from harness.native.platforms import PLATFORMS, platform_of
from harness.native.toolchain import DebianRust, Route, find_toolchain, present_toolchain
from harness.report.progress import Narrator

DEFAULT_TARGET = "android-arm64"
FOREIGN = tuple(name for name, platform in PLATFORMS.items() if platform.rust is not None)

toolchain_app = typer.Typer(help="Rust with the standard libraries of other machines; builds install it when needed.")
app.add_typer(toolchain_app, name="toolchain")


@toolchain_app.command(
    epilog="Examples:\n\n  harness toolchain install\n\n  harness toolchain install android-arm64 android-x86_64"
    "\n\n  harness toolchain install --route debian --upgrade",
)
def install(
    targets: Annotated[
        list[str] | None, typer.Argument(help=f"of {', '.join(FOREIGN)}; {DEFAULT_TARGET} if none is named")
    ] = None,
    route: Annotated[
        Route | None, typer.Option(help="rustup, debian, or whichever works (auto, the default)", show_default=False)
    ] = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="renew Debian's Rust from the mirror")] = False,
) -> None:
    """Bring what runners for other machines are built with, or check that it is whole."""
    cache = Cache(notice=_notice)
    platforms = {name: platform_of(name) for name in targets or [DEFAULT_TARGET]}  # wrong names are told first
    for name, platform in platforms.items():
        with Narrator(sys.stderr).stage(f"Rust for {name}") as stage:
            found = find_toolchain(platform.rust, cache=cache, progress=stage.say, verify=True, route=route)
            if upgrade and platform.rust and found.route == "debian":
                debian = DebianRust(cache, stage.say)
                found = debian.install(platform.rust)
                debian.remove_superseded()
        print(f"{name}: {found.version} ({found.route}, {found.rustc})")


@toolchain_app.command(epilog="Example:\n\n  harness toolchain show")
def show() -> None:
    """List the targets and the Rust that builds for each; nothing is installed."""
    cache = Cache()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("target", "rust target", "route", "version", "rustc"):
        table.add_column(title)
    for name, platform in PLATFORMS.items():
        try:
            found = present_toolchain(platform.rust, cache)
        except ToolchainMissing:
            found = None
        row = (found.route, found.version, str(found.rustc)) if found else ("–", "installed when first needed", "")
        table.add_row(*map(Text, (name, platform.rust or "this machine's", *row)))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 240).print(table)


def _notice(message: str) -> None:
    print(f"harness: {message}", file=sys.stderr)
