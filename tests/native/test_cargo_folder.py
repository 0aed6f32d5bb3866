"""Cargo's folder, which several checkouts share, holds no crate of other sources than those that are built."""

from __future__ import annotations

from pathlib import Path

from harness.native.cargo import CargoBuild, forget_other_sources


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
