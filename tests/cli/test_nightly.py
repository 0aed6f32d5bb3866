"""``harness nightly`` on this machine: real processes, whose runners report times with noise of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.results.baselines import Baselines
from tests import forked
from tests.environment import python_path
from tests.results.kept import cached_run, noisy
from tests.results.samples import make_run

pytestmark = pytest.mark.programs

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """With the baselines ``main`` and ``slower``, whose runner reports times longer by 8 %."""
    results, cache = tmp_path / "results", Cache(tmp_path / "cache")
    for name, level in (("main", 1e6), ("slower", 1.08e6)):
        Baselines(results).set(cached_run(results, cache, body=noisy(level)), name, cache=cache)
    return results


def nightly(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return harness(results, "nightly", *arguments)


def harness(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "harness.cli", *arguments, "--results-dir", str(results)],
        timeout=300,
        cwd=REPOSITORY,
        env=os.environ
        | {
            "HARNESS_CACHE_DIR": str(results.parent / "cache"),
            "PYTHONPATH": python_path(REPOSITORY),
            # Where locks of devices lie: the runners are not real, so nobody who measures has to wait.
            "TMPDIR": str(results.parent),
        },
    )


def test_a_slower_candidate_fails_also_when_the_nightly_run_is_interrupted(results: Path) -> None:
    short = nightly(results, "--baseline", "main", "--candidate", "slower", "--words", "1", "--time-budget", "0.01")
    assert short.returncode == 3, short.stderr
    assert short.stdout.startswith("INCONCLUSIVE")
    assert "time budget" in short.stdout
    done = nightly(results, "--resume", "latest")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FAIL")
    assert "when measured again" in done.stdout
    assert "harness nightly --baseline main --candidate slower --words 1 --time-budget 0.01" in done.stdout
    (kept,) = results.glob("nightly/*/verdicts.json")
    assert json.loads(kept.read_text())["verdict"] == "fail"


def test_the_same_runner_passes_and_is_calibrated(results: Path) -> None:
    done = nightly(results, "--baseline", "main", "--calibrate", "1")
    assert done.returncode == 0, done.stderr
    assert "stay within" in done.stdout
    assert list(results.glob("nightly/floors/*.json"))
    same = nightly(results, "--baseline", "main", "--candidate", "main")
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith("PASS")


def test_wrong_usage(results: Path) -> None:
    assert nightly(results).returncode == 2
    assert nightly(results, "--baseline", "main", "--resume", "latest").returncode == 2
    unknown = nightly(results, "--baseline", "none")
    assert (unknown.returncode, "there are: main, slower" in unknown.stderr) == (2, True)
    absent = nightly(results, "--resume", "latest")
    assert (absent.returncode, "begin one" in absent.stderr) == (2, True)
    make_run(results)
    assert not (results / "nightly").exists()


def test_a_nightly_run_is_shown_again_and_written_for_ci(results: Path, tmp_path: Path) -> None:
    files = ("--markdown", str(tmp_path / "nightly.md"), "--junit", str(tmp_path / "nightly.xml"))
    done = nightly(results, "--baseline", "main", "--candidate", "main", "--words", "1", *files)
    assert done.returncode == 0, done.stderr
    again = harness(results, "nights", "latest")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    printed = harness(results, "nights", "latest", "--markdown", "-")
    assert printed.stdout == (tmp_path / "nightly.md").read_text()
    assert printed.stdout.startswith("**PASS")
    assert "<testsuite" in (tmp_path / "nightly.xml").read_text()
    listed = harness(results, "nights")
    assert listed.returncode == 0
    assert listed.stdout.count("pass") == 1
    assert "host/cache +" in listed.stdout or "host/cache -" in listed.stdout
    asked = harness(results, "query", "--format", "csv", "SELECT candidate, count(*) FROM nights GROUP BY candidate")
    assert asked.stdout.splitlines()[1] == "main,1"
    none = harness(results.parent / "none", "nights")
    assert (none.returncode, "--results-dir" in none.stderr) == (2, True)
