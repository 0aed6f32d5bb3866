"""tools/audit.py beside programs that answer as cargo-deny and pip-audit do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Audit = Callable[..., subprocess.CompletedProcess[str]]
WELL = "exit 0"
NO_DATABASE = "echo 'failed to fetch advisory database' >&2; exit 1"


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Run it with a cargo-deny and a pip-audit that are shell scripts; None: not installed."""

    def run(*arguments: str, deny: str | None = WELL, pip: str | None = None) -> subprocess.CompletedProcess[str]:
        for name, body in (("cargo-deny", deny), ("pip-audit", pip)):
            if body is not None:
                program = tmp_path / name
                program.write_text(f"#!/bin/sh\n{body}\n")
                program.chmod(0o755)
        return subprocess.run(
            [sys.executable, str(ROOT / "tools/audit.py"), *arguments],
            env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def packages(**first: object) -> str:
    """A script that prints what pip-audit prints for one package."""
    return f"echo '{json.dumps({'dependencies': [{'name': 'torch', 'version': '2', 'vulns': [], **first}]})}'"


def test_all_is_well(audit: Audit) -> None:
    done = audit(pip=packages())
    assert (done.returncode, done.stdout.count(": ok\n")) == (0, 3), done.stdout


def test_without_a_network_only_the_crates_licences_are_looked_at(audit: Audit) -> None:
    done = audit("--offline", pip="exit 1")
    assert (done.returncode, done.stdout) == (0, "audit: licences, sources and duplicates of crates: ok\n")


def test_a_licence_that_is_not_allowed_is_shown(audit: Audit) -> None:
    done = audit("--offline", deny="echo 'error[rejected]: GPL-3.0' >&2; exit 4")
    assert (done.returncode, "FOUND\nerror[rejected]: GPL-3.0" in done.stdout) == (1, True)


def test_a_package_with_a_known_fault_is_named_with_the_version_that_mends_it(audit: Audit) -> None:
    done = audit(pip=packages(vulns=[{"id": "PYSEC-1", "fix_versions": ["3"]}]) + "; exit 1")
    assert (done.returncode, "torch 2: PYSEC-1, mended in 3" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("deny", "pip", "message"),
    [
        pytest.param(None, packages(), "cargo-deny is not installed", id="no cargo-deny"),
        pytest.param(WELL, None, "pip-audit is not installed", id="no pip-audit"),
        pytest.param(NO_DATABASE, packages(), "database of known faults cannot be reached", id="no crates' database"),
        pytest.param(WELL, "echo no route to host >&2; exit 1", "no route to host", id="no network"),
        pytest.param(WELL, packages(skip_reason="not found"), "nothing is known of 1 of 1", id="a mirror"),
        pytest.param(
            "echo 'a request, but --offline was specified' >&2; exit 1", packages(), "cargo fetch", id="no crates"
        ),
    ],
)
def test_what_cannot_be_checked_is_named_and_is_no_success(
    audit: Audit, deny: str | None, pip: str | None, message: str
) -> None:
    done = audit(deny=deny, pip=pip)
    assert (done.returncode, message in done.stdout) == (3, True), done.stdout
