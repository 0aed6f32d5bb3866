"""``harness query`` and ``harness export`` as a person calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

from tests import forked
from tests.environment import python_path
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[2]


def harness(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "harness.cli", *arguments, "--results-dir", str(results)],
        cwd=REPOSITORY,
        env=os.environ | {"HARNESS_CACHE_DIR": str(results.parent / "cache"), "PYTHONPATH": python_path(REPOSITORY)},
    )


def test_three_formats_of_one_answer(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run, _ = make_run(results), make_run(results, wrong=("w0",))
    sql = (
        "SELECT run, verdict, median_ns, started, options, NULL AS nothing, 'NaN'::DOUBLE AS odd "
        "FROM runs JOIN workloads USING (run) ORDER BY run"
    )
    table = harness(results, "query", sql)
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert lines[0].split() == ["run", "verdict", "median_ns", "started", "options", "nothing", "odd"]
    assert lines[1].split()[:2] == [run.run_id, "pass"]
    assert table.stderr == "harness: 2 rows\n"
    rows = list(csv.DictReader(io.StringIO(harness(results, "query", "--format", "csv", sql).stdout)))
    asked = json.loads(harness(results, "query", "--format", "json", sql).stdout)
    summary = run.summary()
    assert summary is not None
    assert summary.workloads["g2p"].warm is not None
    for found in (rows[0], asked[0]):
        assert found["run"] == run.run_id
        assert float(found["median_ns"]) == summary.workloads["g2p"].warm.median
    assert asked[0]["nothing"] is asked[0]["odd"] is None
    assert asked[0]["started"] + "+00:00" == run.manifest().started.replace("+00:00", "000+00:00")
    assert json.loads(asked[0]["options"])["repeat"] == 5
    assert asked[1]["verdict"] == "fail"


def test_lists_and_words_of_every_script(tmp_path: Path) -> None:
    results = tmp_path / "results"
    make_run(results)
    sql = "SELECT label, pronunciations FROM reference ORDER BY item"
    asked = json.loads(harness(results, "query", "--format", "json", sql).stdout)
    assert asked[1] == {"label": "dog", "pronunciations": ["dɔɡ", "dɒɡ"]}
    assert "dɒɡ" in harness(results, "query", sql).stdout


def test_wrong_sql_is_wrong_usage_without_a_traceback(tmp_path: Path) -> None:
    make_run(tmp_path / "results")
    for sql in ("SELEC", "DROP TABLE runs", "SELECT * FROM '/etc/hostname'"):
        done = harness(tmp_path / "results", "query", sql)
        assert done.returncode == 2
        assert done.stderr.startswith("harness: ")
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    late = harness(
        tmp_path / "results",
        "query",
        "--deadline",
        "0.2",
        "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
    )
    assert late.returncode == 3
    assert "--deadline" in late.stderr


def test_export(tmp_path: Path) -> None:
    make_run(tmp_path / "results")
    done = harness(tmp_path / "results", "export", "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert len(done.stdout.split()) == 12
