"""What is in the wheel and in the sdist, and their own descriptions."""

from __future__ import annotations

import re
import subprocess
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from harness.core.installation import DISTRIBUTION
from harness.native.toolchain.rust import OLDEST_RUST
from tests.packaging.installs import ROOT, from_cache

OLD_NAME = re.compile(r"(?<![\w-])harness\[(?:ios|training|compile|dev)|pip3? install (?:-\w+ )*['\"]?harness\b")
"""The registry's ``harness`` is another project's."""


def tracked(*folders: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_wheel_is_the_package_with_the_rust_workspace(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[0]) as wheel:
        names = set(wheel.namelist())
        texts = b"".join(wheel.read(name) for name in names)
    about = {name for name in names if name.startswith("ondevice_harness-")}
    rust = tracked("rust", "bindings", "device_runner", "Cargo.toml", "Cargo.lock")
    assert names - about == tracked("harness") | {f"harness/_rust/{name}" for name in rust}
    assert {"harness/py.typed", "harness/conformance/running.py"} <= names
    assert {name.partition("/")[2] for name in about} >= {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}
    assert str(ROOT).encode() not in texts
    assert str(Path.home()).encode() + b"/" not in texts


def test_the_sdist_builds_the_same_wheel(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    tops = {name.partition("/")[0] for name in names}
    assert {
        "harness",
        "bindings",
        "rust",
        "device_runner",
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "pyproject.toml",
    } <= tops
    assert not tops & {"tests", "tools", "benchmarks", "results", ".venv", "target"}
    from_cache("build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(ROOT))
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as other:
        assert {info.filename: info.CRC for info in one.infolist()} == {
            info.filename: info.CRC for info in other.infolist()
        }


def test_what_it_needs_are_ranges(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == DISTRIBUTION
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert needed
    for line in needed:
        assert "==" not in line.partition(";")[0], line
        assert ">=" in line, line
        assert "<" in line, line


def test_nothing_calls_the_distribution_by_its_old_name() -> None:
    found = []
    for name in sorted(tracked()):
        if name == "tests/packaging/test_contents.py":
            continue
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match[0]}" for match in OLD_NAME.finditer(text)]
        found += [f"{name}: {match[0]}" for match in re.finditer(r"metadata\.\w+\(['\"]harness['\"]\)", text)]
    assert found == []


def test_the_old_name_would_be_found() -> None:
    for text in (
        "pip install 'harness[ios]'",
        "the extra `harness[training]`",
        "pip install -U harness",
        "harness[dev",
    ):
        assert OLD_NAME.search(text), text
    for text in (f"pip install '{DISTRIBUTION}[ios]'", "harness nightly", "pip install -e ."):
        assert not OLD_NAME.search(text), text


def test_the_oldest_rust_is_cargos() -> None:
    found = re.search(r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == ".".join(map(str, OLDEST_RUST))
