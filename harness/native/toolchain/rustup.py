"""Take the ordinary route: rustup adds a target's standard library to the compiler that it manages."""

from __future__ import annotations

import os
import shutil

from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.native.process import ToolFailed, run_tool
from harness.native.toolchain.rust import RustToolchain, has_standard_library

ADD_DEADLINE_SECONDS = 300.0
SILENCE_SECONDS = "20"
"""How long rustup waits for its servers' next bytes; its own limit is three minutes."""


class RustupUnusable(HarnessError):
    """There is no rustup, it does not manage the compiler, or its servers cannot be reached."""

    cure = "on Debian: `harness toolchain install --route debian`"


def add_target(toolchain: RustToolchain, triple: str, progress: Progress) -> RustToolchain:
    """Add the target's standard library and return the toolchain; raises RustupUnusable or DiskFull."""
    rustup = shutil.which("rustup")
    if rustup is None:
        raise RustupUnusable("rustup was not found")
    progress(f"rustup adds {triple}")
    try:
        run_tool(
            [rustup, "target", "add", triple],
            deadline=ADD_DEADLINE_SECONDS,
            # There is one attempt, which ends when nothing arrives: without its servers, another route is tried.
            environment=os.environ | {"RUSTUP_MAX_RETRIES": "0", "RUSTUP_DOWNLOAD_TIMEOUT": SILENCE_SECONDS},
            on_line=lambda line: progress(f"rustup: {line.strip()}"),
        )
    except ToolFailed as error:
        raise RustupUnusable(f"rustup cannot add {triple}: {error}") from error
    if not has_standard_library(toolchain, triple):
        raise RustupUnusable(f"rustup added {triple}, but not to {toolchain.rustc}")
    return toolchain
