"""A profile on a virtual iPhone as a person asks for it: the suites, the tables, the trace and the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.report.html import html_report
from harness.results import Run, RunVerdict, Store
from tests.environment import python_path
from tests.outside import persons_environment

pytestmark = [pytest.mark.compiler, pytest.mark.emulator, pytest.mark.thorough]

ROOT = Path(__file__).parents[2]
MODELS = Path(__file__).with_name("two_models.py")
KERNELS = {"picture": "convolution", "chain": "linear gelu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of the suites, which have to pass."""
    results = tmp_path_factory.mktemp("results")
    options = ["--models", str(MODELS), "--profile", "--warmup", "1", "--repeat", "2", "--results-dir", str(results)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "suites", "--device", "virtual-ios:17", *options],
        cwd=ROOT,
        env=persons_environment() | {"PYTHONPATH": python_path(ROOT), "COLUMNS": "150"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in KERNELS:
        assert f"profile of {name}: " in done.stdout
    return Store(results).find("latest")


def test_every_item_of_a_phones_run_has_its_marks(run: Run) -> None:
    summary = run.summary()
    assert summary is not None
    assert summary.verdict is RunVerdict.PASS
    assert [profile.workload for profile in run.profiles()] == list(KERNELS)
    for profile in run.profiles():
        assert (profile.emulated, profile.machine is None) == (True, False)
        assert profile.overhead is not None
        assert 0 < sum(site.total_ns for site in profile.sites) <= profile.total_ns
        assert all(site.calls == profile.samples for site in profile.sites)
    orders = {order.purpose for order in run.manifest().orders if order.complete}
    assert orders == {"smoke", "parity", "latency", "profile"}
    kinds = {line.record.record for line in run.profile_lines()}
    assert kinds >= {"profile", "sample", "machine"}


def test_it_is_shown_as_an_emulators(run: Run, tmp_path: Path) -> None:
    load_commands()
    results, trace = ["--results-dir", str(run.folder.parent)], tmp_path / "trace.json"
    shown = CliRunner().invoke(app, ["profile", *results], catch_exceptions=False, env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for name, kernel in KERNELS.items():
        assert f"Profile of {name} (emulated)" in shown.stdout
        assert f"{name}: {kernel}" in shown.stdout
    assert "no rates are given" in shown.stdout
    assert CliRunner().invoke(app, ["profile", *results, "--trace", str(trace)]).exit_code == 0
    events = json.loads(trace.read_text())["traceEvents"]
    processes = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert [name.rpartition(", ")[2] for name in processes] == list(KERNELS)
    assert all(name.startswith("Virtual iPhone 17") and "emulated" in name for name in processes)
    assert {event["cat"] for event in events if event["ph"] == "X"} == {"kernel", "sample", "function"}
    page = html_report([run])
    assert all(f"{name}, emulated" in page for name in KERNELS)
