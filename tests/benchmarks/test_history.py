"""The runs that are made for timing are runs as the harness leaves them, and what is slow is an exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import history
from harness.models.g2p.word_list import default_words
from harness.results import RunStatus, Store
from harness.results.history import query


def test_made_runs_are_whole_ones(tmp_path: Path) -> None:
    words = default_words()[:4]
    history.make_run(tmp_path / "results", words, np.random.default_rng(1), commit="c" * 40)
    (run,) = Store(tmp_path / "results").runs()
    manifest, summary = run.manifest(), run.summary()
    assert manifest.status is RunStatus.COMPLETE
    assert summary is not None
    assert summary.workloads["g2p"].warm is not None
    assert len(list(run.samples())) == 4 * (history.WARMUP + history.TIMED)
    assert len(list(run.reference())) == 4
    assert len(list(run.parity())) == 12
    for sql in history.QUERIES.values():
        query(Store(tmp_path / "results"), sql, cache=tmp_path / "cache")


@pytest.mark.thorough
@pytest.mark.programs
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "REPEATS", 1)
    monkeypatch.setattr(history, "QUERIES", dict(list(history.QUERIES.items())[:2]))
    app = typer.Typer()
    app.command()(history.main)
    file = tmp_path / "h.json"
    done = CliRunner().invoke(app, ["--runs", "2", "--limit", "0.001", "--json", str(file)])
    assert done.exit_code == 1, done.output
    assert "above 0.001 s" in done.output
    found = json.loads(file.read_text())
    assert [timing["title"] for timing in found["timings"]] == list(history.QUERIES)
    assert all(timing["repeated_cpu"] > 0 for timing in found["timings"])
