"""What the harness finds out about its installation: name, versions and conflicts."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from harness.core import installation
from harness.core.installation import (
    DISTRIBUTION,
    PACKAGED_WORKSPACE,
    PackageMissing,
    install_cure,
    package_version,
    providers,
)
from harness.devices.workstation import versions
from harness.native.compilers import ToolchainMissing
from harness.native.runner import workspace_root


def distribution(folder: Path, name: str, version: str, *files: str) -> Path:
    """A package as an installer leaves it, put on the path by who asks for it."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_a_runs_versions_are_of_this_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's ``harness`` may be installed as well, and is another project's."""
    distribution(tmp_path, "harness", "9.9", "elsewhere/__init__.py")
    distribution(tmp_path, DISTRIBUTION, "0.7", "harness/__init__.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert versions()["harness"] == "0.7"


def test_who_brings_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one")])
    distribution(tmp_path / "one", DISTRIBUTION, "0.7", "harness/__init__.py")
    assert [one.describe() for one in providers()] == [f"{DISTRIBUTION} 0.7 in {tmp_path}/one"]
    distribution(tmp_path / "one", "harness", "2.0", "harness/__init__.py", "harness/other.py")
    distribution(tmp_path / "one", "pytest-x", "2.0", "harness_x/__init__.py")
    sys.path.append(str(distribution(tmp_path / "two", DISTRIBUTION, "0.8", "harness/__init__.py")))
    # A folder's listing is kept until its time stamp changes, and all of this may happen within one tick of the clock.
    # (``importlib.invalidate_caches`` leaves the listings of packages alone before Python 3.12.)
    os.utime(tmp_path / "one", (1, 1))
    assert {(one.name, one.version) for one in providers()} == {
        (DISTRIBUTION, "0.7"),
        (DISTRIBUTION, "0.8"),
        ("harness", "2.0"),
    }


def test_a_missing_package_is_reported_with_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert package_version("pytest") == importlib.metadata.version("pytest")
    with pytest.raises(PackageMissing, match="no-such-package is not installed") as info:
        package_version("no-such-package")
    assert info.value.cure == "make setup"
    monkeypatch.setattr(installation, "harness_folder", lambda: tmp_path)
    (tmp_path / PACKAGED_WORKSPACE).mkdir()
    assert install_cure("compile") == f"pip install '{DISTRIBUTION}[compile]'"


def test_a_workspace_that_is_named_and_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_RUST_WORKSPACE", str(tmp_path))
    with pytest.raises(ToolchainMissing, match="does not hold the Rust workspace") as info:
        workspace_root()
    assert info.value.cure == "unset HARNESS_RUST_WORKSPACE"
