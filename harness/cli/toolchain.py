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
from harness.native.ios.tools import apple_tools, present_tools
from harness.native.platforms import PLATFORMS, Platform, platform_of
from harness.native.toolchain import DebianRust, Route, find_toolchain, present_toolchain
from harness.report.progress import Narrator
from harness.shown import shown_line

DEFAULT_TARGET = "android-arm64"
PHONES = {"android": DEFAULT_TARGET, "ios": "ios-arm64"}
"""Short names of the phones' targets."""
INSTALLED_LATER = "installed when first needed"
FOREIGN = tuple(name for name, platform in PLATFORMS.items() if platform.rust is not None)

toolchain_app = typer.Typer(help="Rust with the standard libraries of other machines; builds install it when needed.")
app.add_typer(toolchain_app, name="toolchain")


@toolchain_app.command(
    epilog="Examples:\n\n  harness toolchain install\n\n  harness toolchain install ios"
    "\n\n  harness toolchain install android-arm64 android-x86_64"
    "\n\n  harness toolchain install --route debian --upgrade",
)
def install(
    targets: Annotated[
        list[str] | None, typer.Argument(help=f"of {', '.join((*PHONES, *FOREIGN))}; {DEFAULT_TARGET} if none is named")
    ] = None,
    route: Annotated[
        Route | None, typer.Option(help="rustup, debian, or whichever works (auto, the default)", show_default=False)
    ] = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="renew Debian's Rust from the mirror")] = False,
) -> None:
    """Bring what runners for other machines are built with, or check that it is whole."""
    cache = Cache(notice=_notice)
    names = [PHONES.get(name, name) for name in targets or [DEFAULT_TARGET]]
    platforms = {name: platform_of(name) for name in names}  # wrong names are told first
    for name, platform in platforms.items():
        with Narrator(sys.stderr).stage(f"Rust for {name}") as stage:
            found = find_toolchain(platform.rust, cache=cache, progress=stage.say, verify=True, route=route)
            if upgrade and platform.rust and found.route == "debian":
                debian = DebianRust(cache, stage.say)
                found = debian.install(platform.rust)
                debian.remove_superseded()
            if platform.ios:
                apple = apple_tools(platform.ios, cache=cache, progress=stage.say)
        print(f"{name}: {found.version} ({found.route}, {found.rustc})")
        if platform.ios:
            print(f"{name}: linked by {apple.identity} ({apple.linker})")


@toolchain_app.command(epilog="Example:\n\n  harness toolchain show")
def show() -> None:
    """List the targets, the Rust that builds for each and what links it; nothing is installed."""
    cache = Cache()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("target", "rust target", "route", "version", "rustc", "linker"):
        table.add_column(title)
    for name, platform in PLATFORMS.items():
        try:
            found = present_toolchain(platform.rust, cache)
        except ToolchainMissing:
            found = None
        row = (found.route, found.version, str(found.rustc)) if found else ("–", INSTALLED_LATER, "")
        table.add_row(*map(Text, (name, platform.rust or "this machine's", *row, _linker(platform, cache))))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 240).print(table)


def _linker(platform: Platform, cache: Cache) -> str:
    if platform.ios is None:
        return {"host": "rustc's own", "zig": "zig", "ndk": "the NDK's clang"}[platform.linker]
    try:
        return present_tools(platform.ios, cache) or INSTALLED_LATER
    except ToolchainMissing as error:
        return Exception.__str__(error)


def _notice(message: str) -> None:
    print(f"harness: {shown_line(message)}", file=sys.stderr)
