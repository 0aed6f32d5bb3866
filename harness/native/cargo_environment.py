"""The environment of cargo's processes: the user's, without what changes which code is built, how, or where it lies."""

from __future__ import annotations

import os

_DROPPED = frozenset({"RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC", "CARGO_INCREMENTAL"})
_DROPPED_PREFIXES = (
    "CARGO_BUILD_",
    "CARGO_TARGET_",
    "CARGO_PROFILE_",
    "CARGO_UNSTABLE_",
    "G2P_TVM_",
    # What a runner's build reads, which the harness alone sets.
    "HARNESS_ARCHIVE",
    "HARNESS_CPU_FEATURES",
    "HARNESS_RUNNER_APP",
)
FLAG_SEPARATOR = "\x1f"
"""Between the flags of ``CARGO_ENCODED_RUSTFLAGS``, so that a flag may have spaces."""


def cargo_environment() -> dict[str, str]:
    """This process's environment as a build sees it.

    A runner is cached by what goes into it, so nothing of the user's own Rust settings may: neither flags, a target,
    a profile nor another output folder. How cargo reaches its registry stays.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }


def encoded_flags(flags: list[str]) -> dict[str, str]:
    """The variable that gives rustc these flags and no others, whatever cargo's configuration files say."""
    return {"CARGO_ENCODED_RUSTFLAGS": FLAG_SEPARATOR.join(flags)}
