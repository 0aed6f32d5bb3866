"""Make the environment of cargo's processes: the user's, without variables that change the built code or its place."""

from __future__ import annotations

import os

_DROPPED = frozenset({"RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC", "CARGO_INCREMENTAL"})
_DROPPED_PREFIXES = (
    "CARGO_BUILD_",
    "CARGO_TARGET_",
    "CARGO_PROFILE_",
    "CARGO_UNSTABLE_",
    "G2P_TVM_",
    # A runner's build reads these, and only the harness sets them.
    "HARNESS_ARCHIVE",
    "HARNESS_CPU_FEATURES",
    "HARNESS_RUNNER_APP",
)
FLAG_SEPARATOR = "\x1f"
"""Separates the flags of ``CARGO_ENCODED_RUSTFLAGS``, so that a flag may contain spaces."""


def cargo_environment() -> dict[str, str]:
    """Return this process's environment for a build.

    A runner is cached by everything that goes into it. So the user's own Rust settings are removed: flags, a target, a
    profile or another output folder. Settings for reaching the registry stay.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }


def encoded_flags(flags: list[str]) -> dict[str, str]:
    """Return the variable that gives rustc only these flags, whatever cargo's configuration files contain."""
    return {"CARGO_ENCODED_RUSTFLAGS": FLAG_SEPARATOR.join(flags)}
