"""Find ``rcodesign``, which signs apps for iOS on any system, or build it into the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.core.cache import Cache, content_key
from harness.core.progress import Progress
from harness.native.cargo_environment import cargo_environment
from harness.native.ios.errors import SignerMissing
from harness.native.process import ToolFailed, compiled_crate, run_tool
from harness.native.toolchain import host_toolchain

NAME = "rcodesign"
CRATE = "apple-codesign"
VERSION = "0.29.0"
DEADLINE_SECONDS = 3600.0


def find_rcodesign(cache: Cache, progress: Progress) -> Path:
    """Return the PATH's ``rcodesign``, else the cache's, built there if needed. Raises SignerMissing."""
    if found := shutil.which(NAME):
        return Path(found)
    return cache.fetch("rcodesign", _key(), lambda folder: _build(folder, progress)) / "bin" / NAME


def _key() -> str:
    return content_key({"crate": CRATE, "version": VERSION})


def _build(folder: Path, progress: Progress) -> None:
    """Build it by cargo without optimization, which takes a third of the time: it signs one file a run.

    Its default features send apps to Apple for notarization, and are nearly half of its 460 crates.
    """
    command = [str(host_toolchain().cargo), "install", CRATE, "--version", VERSION, "--locked"]
    command += ["--no-default-features", "--debug", "--root", str(folder), "--no-track"]
    own = {"CARGO_TARGET_DIR": str(folder / "target"), "CARGO_PROFILE_DEV_DEBUG": "0"}

    def show(line: str) -> None:
        if crate := compiled_crate(line):
            progress(f"building {NAME} {VERSION}, once: cargo compiles {crate}")

    try:
        # In its own folder: that of a project may choose another toolchain or other settings of cargo.
        run_tool(command, deadline=DEADLINE_SECONDS, environment=cargo_environment() | own, folder=folder, on_line=show)
    except ToolFailed as error:
        raise SignerMissing(f"{NAME} could not be built: {error}") from error
    finally:
        shutil.rmtree(folder / "target", ignore_errors=True)
