"""Define the commands about Rust for other machines: ``toolchain install`` and ``toolchain show``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from harness.cli.app import app
from harness.cli.documents.machine import ToolchainRow, ToolchainsDocument
from harness.cli.options import Json
from harness.cli.output import cell, note, print_json, print_line, print_table
from harness.core.cache import Cache
from harness.native.compilers import ToolchainMissing
from harness.native.ios.tools import apple_tools, present_tools
from harness.native.platforms import PLATFORMS, Platform, platform_of
from harness.native.toolchain import DebianRust, Route, configured_route, find_toolchain, present_toolchain
from harness.report.progress import TerminalProgress

DEFAULT_TARGET = "android-arm64"
PHONES = {"android": DEFAULT_TARGET, "ios": "ios-arm64"}
"""Short names of the phones' targets."""
INSTALLED_LATER = "installed when first needed"
TITLES = ("target", "rust target", "route", "version", "rustc", "linker")
FOREIGN = tuple(name for name, platform in PLATFORMS.items() if platform.rust is not None)

toolchain_app = typer.Typer(
    help="Rust with the standard libraries of other machines; builds install it when needed.",
    no_args_is_help=True,
    epilog="Examples:\n\n  harness toolchain show\n\n  harness toolchain install ios",
)
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
    as_json: Json = False,
) -> None:
    """Bring what runners for other machines are built with, or check that it is whole."""
    cache = Cache(notice=note)
    names = [PHONES.get(name, name) for name in targets or [DEFAULT_TARGET]]
    rows = []
    platforms = {name: platform_of(name) for name in names}  # wrong names are reported first
    for name, platform in platforms.items():
        with TerminalProgress(sys.stderr).stage(f"Rust for {name}") as stage:
            found = find_toolchain(platform.rust, cache=cache, progress=stage.describe, verify=True, route=route)
            if upgrade and platform.rust and found.route == "debian":
                debian = DebianRust(cache, stage.describe)
                found = debian.install(platform.rust)
                debian.remove_superseded()
            if platform.ios:
                apple = apple_tools(platform.ios, cache=cache, progress=stage.describe)
        linker = f"{apple.identity} ({apple.linker})" if platform.ios else _linker(platform, cache)
        rows.append(
            ToolchainRow(
                target=name,
                rust_target=platform.rust,
                route=found.route,
                version=found.version,
                rustc=str(found.rustc),
                linker=linker,
            )
        )
        if not as_json:
            print_line(f"{name}: {found.version} ({found.route}, {found.rustc})")
            if platform.ios:
                print_line(f"{name}: linked by {linker}")
    if as_json:
        print_json(ToolchainsDocument(toolchains=rows))


@toolchain_app.command(epilog="Examples:\n\n  harness toolchain show\n\n  harness toolchain show --json")
def show(as_json: Json = False) -> None:
    """List the targets, the Rust that builds for each and what links it; nothing is installed."""
    cache, route = Cache(), configured_route()
    document = ToolchainsDocument(
        toolchains=[_present(name, platform, cache, route) for name, platform in PLATFORMS.items()]
    )
    if as_json:
        print_json(document)
    else:
        print_table(TITLES, map(_row, document.toolchains), width=240)


def _present(name: str, platform: Platform, cache: Cache, route: Route) -> ToolchainRow:
    try:
        found = present_toolchain(platform.rust, cache, route)
    except ToolchainMissing:
        found = None
    return ToolchainRow(
        target=name,
        rust_target=platform.rust,
        route=found.route if found else None,
        version=found.version if found else None,
        rustc=str(found.rustc) if found else None,
        linker=_linker(platform, cache),
    )


def _row(row: ToolchainRow) -> list[Text]:
    rust = (row.route or "–", row.version or INSTALLED_LATER, row.rustc or "")
    return [cell(text) for text in (row.target, row.rust_target or "this machine's", *rust, row.linker)]


def _linker(platform: Platform, cache: Cache) -> str:
    if platform.ios is None:
        return {"host": "rustc's own", "zig": "zig", "ndk": "the NDK's clang"}[platform.linker]
    try:
        return present_tools(platform.ios, cache) or INSTALLED_LATER
    except ToolchainMissing as error:
        return Exception.__str__(error)
