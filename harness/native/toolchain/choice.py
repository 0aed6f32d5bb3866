"""Choose the Rust toolchain for a target: one that is there, else rustup's, else Debian's."""

from __future__ import annotations

import os
from typing import Literal, get_args

from harness.core.cache import Cache
from harness.core.debian import PackagesUnavailable
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.native.compilers import ToolchainMissing
from harness.native.toolchain.debian import DebianRust
from harness.native.toolchain.rust import RUST_CURE, RustToolchain, has_standard_library, host_toolchain
from harness.native.toolchain.rustup import RustupUnusable, add_target

Route = Literal["auto", "rustup", "debian"]
ROUTES: tuple[Route, ...] = get_args(Route)
ROUTE_VARIABLE = "HARNESS_RUST_ROUTE"


class UnknownRoute(UsageError):
    """``HARNESS_RUST_ROUTE`` names no route."""


def configured_route() -> Route:
    """Return ``HARNESS_RUST_ROUTE``, or auto; raises UnknownRoute."""
    name = os.environ.get(ROUTE_VARIABLE) or "auto"
    for route in ROUTES:
        if route == name:
            return route
    raise UnknownRoute(f"{ROUTE_VARIABLE} is {name!r}", cure=f"set it to one of {', '.join(ROUTES)}")


def find_toolchain(
    triple: str | None, *, cache: Cache, progress: Progress, verify: bool = False, route: Route | None = None
) -> RustToolchain:
    """Return a toolchain with the target's standard library, installed now if there is none; None is this machine.

    ``verify`` checks every file of one in the cache first. Raises ToolchainMissing, UnknownRoute, RustupUnusable if
    rustup was asked for, PackagesUnavailable if Debian's was, or StandardLibraryFailed.
    """
    if triple is None:
        return host_toolchain()
    route = route or configured_route()
    debian = DebianRust(cache, progress)
    if present := present_toolchain(triple, cache, route):
        return debian.verified(triple) if verify and present.route == "debian" else present
    why: list[str] = []
    host = _host_or_none(why)
    if route == "rustup":
        return add_target(host_toolchain(), triple, progress)
    if route == "auto" and host:
        try:
            return add_target(host, triple, progress)
        except RustupUnusable as error:
            why.append(Exception.__str__(error))
            progress(f"{why[0].splitlines()[0]}; taking Debian's Rust")
    try:
        return debian.verified(triple)
    except PackagesUnavailable as error:
        if route == "debian":
            raise
        why.append(Exception.__str__(error))
        raise ToolchainMissing(
            f"Rust for {triple} is not available: {'; '.join(why)}", cure=f"rustup target add {triple}; or {RUST_CURE}"
        ) from error


def present_toolchain(triple: str | None, cache: Cache, route: Route = "auto") -> RustToolchain | None:
    """Return a toolchain with the target's standard library that needs no installing; it is not verified.

    Raises ToolchainMissing if this machine's own toolchain is needed and missing.
    """
    if triple is None:
        return host_toolchain()
    host = _host_or_none()
    if route != "debian" and host and has_standard_library(host, triple):
        return host
    return DebianRust(cache, lambda _message: None).installed(triple) if route != "rustup" else None


def _host_or_none(why: list[str] | None = None) -> RustToolchain | None:
    """Return the toolchain of the PATH or None; the reason why there is none is added to ``why``."""
    try:
        return host_toolchain()
    except ToolchainMissing as error:
        if why is not None:
            why.append(Exception.__str__(error))
        return None
