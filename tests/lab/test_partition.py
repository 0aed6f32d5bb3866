"""A host whose cable is cut and mended: nothing arrives twice, and nothing runs on a phone that somebody else has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import REPOSITORY, python_path
from tests.guard.sitecustomize import ALLOWED

pytestmark = pytest.mark.programs


def test_a_host_that_was_cut_off_runs_nothing_twice(tmp_path: Path) -> None:
    # In its namespace there is no network but the cable between its two hosts.
    environment = {**os.environ, "PYTHONPATH": python_path(REPOSITORY), ALLOWED: "network,programs"}
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        sys.executable,
        "-m",
        "tests.lab.partition",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=REPOSITORY, timeout=240, check=False
    )
    logs = "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(tmp_path.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    found = json.loads(done.stdout)
    assert found["before"] == ["far"]
    assert (found["complete"], found["resumed"]) == (True, 1), found["reason"]
    assert found["phones"] == ["far/f", "near/n"]
    assert found["samples"] == found["different"] == 6
    # The order of the host that was cut off had ended before the person had the phone, and never began again.
    assert found["when the person has it"] == found["while the person has it"] == ["near"]
    assert found["starts"] == ["far", "near"]
    assert found["holder"] == "a run on its own host"
    # Who asked for the phone meanwhile got it afterwards.
    assert found["late then"] is None
    assert found["late"] is True
