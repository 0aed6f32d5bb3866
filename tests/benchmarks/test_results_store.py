"""What the benchmark of the results store fills it with, and that it finds what its writers lose."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import results_store
from harness.results.history import query
from harness.results.shared import shared_store, uploader
from harness.results.shared.sync import planned
from tests.lab.writers import copies, differences, numbered
from tests.results.samples import make_run


def test_the_store_is_filled_with_as_many_samples_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(results_store, "MONTHS", ("202501", "202512"))
    monkeypatch.setattr(results_store, "SAMPLES_OF_A_RUN", 500)
    url = f"file://{tmp_path}/store"
    results_store.fill(url, 6_000, Console(quiet=True))
    store = shared_store(url)
    counts = query(
        store, "SELECT part_month, part_device_kind, count(*), count(DISTINCT run) FROM samples GROUP BY ALL"
    )
    assert sorted(counts.rows) == [
        (month, kind, 1_000, 2) for month in ("2025-01", "2025-12") for kind in results_store.KINDS
    ]
    joined = "SELECT count(*), min(total_ns) > 500000 FROM samples JOIN runs USING (run) WHERE device = 'ios-1'"
    assert query(store, joined).rows == [(1_000, True)]


def test_a_run_that_is_lost_or_there_twice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    url, results = f"file://{tmp_path}/store", tmp_path / "results"
    copies(results, make_run(tmp_path / "original").folder, numbered(0, 1))
    planned(results).carry_out(uploader(url))
    assert differences(url, results) == []
    copies(results, make_run(tmp_path / "original").folder, numbered(1, 1))
    lost = differences(url, results)
    assert any(line.startswith("samples of 20261130-120000-001-abcd: 0 instead of") for line in lost)
    (tmp_path / "results" / numbered(0, 1)[0]).rename(tmp_path / "results" / numbered(2, 1)[0])
    assert any("of 20261130-120000-000-abcd" in line for line in differences(url, results))
