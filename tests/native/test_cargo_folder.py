"""Cargo's folder, which several checkouts share, holds no crate of other sources than those that are built."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from harness.compiler.metadata import Archive, ArchiveMetadata
from harness.native.cargo import CargoBuild, forget_other_sources
from harness.native.process import ToolFailed
from harness.native.runner import run_cargo
from harness.native.runtime import RuntimeLibs


def crates(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("**/.fingerprint/*")}


def test_our_crates_of_other_sources_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    plan = CargoBuild([], {}, tmp_path / "release/device_runner", tmp_path)
    forget_other_sources(plan, "1")
    ours = {"charsiug2p-workload-1a", "device-runner-program-2b"}

    def built() -> None:
        for place in ("release", "aarch64-apple-ios/release"):
            for name in (*ours, "serde-3c"):
                (tmp_path / place / ".fingerprint" / name).mkdir(parents=True, exist_ok=True)

    built()
    forget_other_sources(plan, "1")
    assert crates(tmp_path) == {*ours, "serde-3c"}
    forget_other_sources(plan, "2")
    assert crates(tmp_path) == {"serde-3c"}
    built()
    forget_other_sources(plan, "2")
    assert crates(tmp_path) == {*ours, "serde-3c"}


def test_builds_for_two_platforms_are_never_in_the_folder_at_once(tmp_path: Path) -> None:
    """The second may forget crates that the first one reads just now."""
    alone = (
        "import os, sys, time\n"
        "mark = sys.argv[1]\n"
        "os.close(os.open(mark, os.O_CREAT | os.O_EXCL))\n"
        "time.sleep(0.5)\n"
        "os.unlink(mark)\n"
    )
    archive = Archive(tmp_path, ArchiveMetadata.model_construct(archive="lib.a", prefix_base="g2p_"))
    failures: list[ToolFailed] = []

    def build(target: str) -> None:
        output = tmp_path / target / "release/device_runner"
        output.parent.mkdir(parents=True)
        output.write_bytes(b"program")
        plan = CargoBuild([sys.executable, "-c", alone, str(tmp_path / "busy")], {}, output, tmp_path)
        try:
            run_cargo(
                plan,
                archive,
                RuntimeLibs(tmp_path),
                output,
                tmp_path / f"{target}-taken",
                sources=target,
                progress=lambda _text: None,
            )
        except ToolFailed as error:
            failures.append(error)

    builds = [threading.Thread(target=build, args=(target,)) for target in ("x86", "arm")]
    for one in builds:
        one.start()
    for one in builds:
        one.join()
    assert not failures
    assert {path.name for path in tmp_path.glob("*-taken")} == {"x86-taken", "arm-taken"}
