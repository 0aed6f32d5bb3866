"""Provide Rust for other machines: through rustup, or Debian's Rust if rustup's servers are out of reach."""

from harness.native.toolchain.choice import ROUTES, Route, configured_route, find_toolchain, present_toolchain
from harness.native.toolchain.debian import DebianRust
from harness.native.toolchain.rust import RustToolchain, has_standard_library, host_toolchain

__all__ = [
    "ROUTES",
    "DebianRust",
    "Route",
    "RustToolchain",
    "configured_route",
    "find_toolchain",
    "has_standard_library",
    "host_toolchain",
    "present_toolchain",
]
