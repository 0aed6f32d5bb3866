"""THIRD_PARTY_NOTICES.md beside the lock files and what is installed."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from tools import write_notices
from tools.write_notices import ROOT, Part, closure, declared_licence, differences, rows

PAGE = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_page_is_of_these_lock_files() -> None:
    assert list(differences(PAGE)) == [], "python tools/write_notices.py"


@pytest.mark.parametrize(
    ("now", "then", "message"),
    [
        (
            "| pytest-xdist | 3.8.0 |",
            "| pytest-xdist | 3.7.0 |",
            "pytest-xdist has other versions in requirements.lock",
        ),
        ("| pluggy | ", "| plugger | ", "plugger is not in requirements.lock"),
        ("| pluggy | ", "| plugger | ", "pluggy is missing"),
        ("- pywin32 ", "- pywin33 ", "pywin32 is missing"),
        ("| itoa | 1.0.18 |", "| itoa | 1.0.17 |", "missing: | itoa | 1.0.18 |"),
        ("| itoa | 1.0.18 |", "| itoa | 1.0.17 |", "no longer so: | itoa | 1.0.17 |"),
        ("Orson Peters", "Somebody", "the text of foldhash-0.2.0, LICENSE is missing"),
    ],
)
def test_a_page_that_is_out_of_date_is_found(now: str, then: str, message: str) -> None:
    assert now in PAGE
    assert any(line.startswith(message) for line in differences(PAGE.replace(now, then)))


def test_another_licence_than_the_installed_package_declares_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    [version] = rows(PAGE)["pluggy"][1:2]
    monkeypatch.setattr(write_notices, "python_part", lambda name, _: Part(name, version, "Other", ""))
    assert "pluggy declares Other" in list(differences(PAGE))


def test_the_gpl_is_in_the_extra_for_iphones_alone() -> None:
    copyleft = {name for name, cells in rows(PAGE).items() if re.search(r"GPL|GNU", " ".join(cells[2:3]))}
    assert "pymobiledevice3" in copyleft
    allowed = {*rows(section("The extra `ios`")), "the C++ standard library of g++ (this machine)", "r-efi"}
    assert copyleft <= allowed, "r-efi can be had under Apache-2.0, and the C++ library has an exception for programs"


def test_what_is_linked_into_an_app_has_its_text_on_the_page_or_is_offered_under_apache() -> None:
    linked = rows(PAGE.split("### In an HTML report")[0])
    for name in ("memchr", "zmij", "foldhash"):
        assert "Apache" not in linked[name][2]
        assert f"### {name}-{linked[name][1]}, " in PAGE


def test_a_package_that_is_not_the_locked_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert write_notices.python_part("pytest", [importlib.metadata.version("pytest")]) is not None
    with pytest.raises(write_notices.Stale, match=r"pytest \S+ is installed, the lock file has 0\.1"):
        write_notices.python_part("pytest", ["0.1"])
    monkeypatch.setattr("sys.argv", ["write_notices.py"])
    monkeypatch.setattr(write_notices, "locked_python", lambda text: {"pytest": ["0.1"]})
    with pytest.raises(SystemExit, match="run `make setup`"):
        write_notices.main()


def test_check_prints_what_differs_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "NOTICES.md"
    monkeypatch.setattr(write_notices, "NOTICES", page)
    monkeypatch.setattr("sys.argv", ["write_notices.py", "--check"])
    assert write_notices.main() == 1
    message = capsys.readouterr().err
    assert "pytest is missing" in message
    assert message.endswith("→ python tools/write_notices.py\n")
    page.write_text(PAGE, encoding="utf-8")
    assert write_notices.main() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"License-Expression": "MIT", "License": "other"}, "MIT"),
        ({"License": "Apache 2.0"}, "Apache 2.0"),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT License"),
        ({"License": "MIT License\n\n" + "Permission is hereby granted " * 9}, "MIT License"),
        ({"License": "Permission is hereby granted " * 9}, "see the text"),
        ({}, "not declared"),
    ],
)
def test_what_a_package_declares(fields: dict[str, str], message: str) -> None:
    from email.message import Message

    metadata = Message()
    for name, value in fields.items():
        metadata[name] = value
    assert declared_licence(metadata) == message


def test_a_closure_holds_what_extras_bring_and_leaves_out_other_systems() -> None:
    found = closure(["pytest; python_version >= '3'", "absent-package; sys_platform == 'never'"])
    assert {"pytest", "pluggy", "iniconfig"} <= found
    assert "absent-package" not in found
    with pytest.raises(write_notices.Stale, match="absent-package is not installed"):
        closure(["absent-package"])


def test_a_crate_that_only_runs_at_build_time_is_in_no_program() -> None:
    found = write_notices.crates(write_notices.cargo_metadata())
    assert {"syn", "serde_derive", "proptest"} <= {part.name for part in found.building}
    assert {"serde", "thiserror"} <= {part.name for part in found.app}
    assert {"sha2", "uniffi"} <= {part.name for part in found.mobile}
    assert "clap" in {part.name for part in found.runner}
    assert {part.name for part in found.apple} == {"objc2", "objc2-encode", "objc2-foundation", "objc2-ui-kit"}


def test_the_licence_is_in_every_crate_and_is_that_of_the_manifests() -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in licence
    ours = [one for one in write_notices.cargo_metadata()["packages"] if one["source"] is None]
    assert len(ours) > 5
    for package in ours:
        assert package["license"] == "Apache-2.0"
        assert (Path(package["manifest_path"]).parent / "LICENSE").read_bytes() == licence, package["name"]


def test_the_notice_repeats_those_of_what_programs_are_linked_with() -> None:
    ours = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for package in ("apache-tvm", "apache-tvm-ffi"):
        files = importlib.metadata.files(package) or []
        [notice] = {str(one): one for one in files if one.name == "NOTICE" and "3rdparty" not in str(one)}.values()
        lines = [line for line in notice.read_text().splitlines() if line.startswith("Copyright")]
        assert lines
        assert all(line in ours for line in lines), package
