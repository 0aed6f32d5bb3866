"""Baselines are whole files of their own: kept from the cache, shared, checked, and refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.results import OrderEntry, RunWriter, StorageUnwritable, Store
from harness.results.baselines import (
    ArtifactGone,
    BaselineDamaged,
    BaselineExists,
    BaselineNotFound,
    Baselines,
    BaselineUnusable,
)
from tests import forked
from tests.environment import python_path
from tests.results.kept import ARCHIVE_BYTES, cached_run
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_a_baseline_outlives_the_cache_and_the_run(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run = cached_run(results, cache)
    baselines = Baselines(results)
    assert baselines.names() == []
    made = baselines.set(run, "release-1.4", cache=cache)
    assert baselines.get("release-1.4") == made
    assert made.manifest == run.manifest()
    cache.clear()
    (run.folder / "manifest.json").unlink()
    kept = baselines.runner("release-1.4", "cache")
    done = subprocess.run([kept.path, "--describe"], capture_output=True, text=True, timeout=60, check=True)
    assert '"runner_version"' in done.stdout
    assert kept.order == make_order(order_id="latency-cache-1")
    assert kept.archive_bytes == len(ARCHIVE_BYTES)
    assert baselines.names() == ["release-1.4"]


def test_files_are_shared_and_go_with_the_last_one(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run, other = cached_run(results, cache), cached_run(results, cache, body="header()")
    baselines = Baselines(results)
    baselines.set(run, cache=cache)
    assert baselines.names() == [run.run_id]
    baselines.set(run, "again", cache=cache)
    baselines.set(other, "other", cache=cache)
    objects = results / "baselines" / "objects"
    assert len(list(objects.iterdir())) == 3, "two runners, one archive"
    assert baselines.remove(run.run_id) == 0
    assert baselines.remove("other") > 0
    assert len(list(objects.iterdir())) == 2
    baselines.runner("again", "cache")
    baselines.remove("again")
    assert list(objects.iterdir()) == []


def test_a_name_is_of_one_run(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run, other = cached_run(results, cache), cached_run(results, cache)
    baselines = Baselines(results)
    made = baselines.set(run, "main", cache=cache)
    assert baselines.set(run, "main", cache=cache) == made
    with pytest.raises(BaselineExists, match=run.run_id):
        baselines.set(other, "main", cache=cache)
    for bad in ("../x", "a/b", ".hidden", "", "x" * 65, "a b", "objects/../../x"):
        with pytest.raises(UsageError):
            baselines.set(run, bad or " ", cache=cache)


def test_what_cannot_be_a_baseline(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    baselines = Baselines(results)
    with pytest.raises(BaselineUnusable, match="emulated") as info:
        baselines.set(make_run(results, emulated=True), cache=cache)
    assert "harness nightly --emulated" in info.value.cure
    with pytest.raises(BaselineUnusable, match="timed no model"):
        baselines.set(cached_run(results, cache, timed=False), cache=cache)
    unreadable = cached_run(results, cache)
    (unreadable.folder / "orders" / "latency-cache-1.json").write_text("{")
    with pytest.raises(BaselineUnusable, match="latency-cache-1"):
        baselines.set(unreadable, cache=cache)
    slowed = cached_run(results, cache)
    order = make_order(order_id="latency-cache-1").model_copy(update={"slowdown_percent": 5.0})
    (slowed.folder / "orders" / "latency-cache-1.json").write_text(order.model_dump_json())
    with pytest.raises(BaselineUnusable, match="slowed down by 5 % on purpose"):
        baselines.set(slowed, cache=cache)
    gone = cached_run(results, cache)
    cache.clear()
    with pytest.raises(ArtifactGone, match="runner"):
        baselines.set(gone, cache=cache)
    assert baselines.names() == []


def test_an_archive_that_is_gone_and_a_cached_runner_that_is_damaged(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run = cached_run(results, cache)
    (archive,) = cache.root.glob("archives/*/libx.a")
    archive.unlink()
    with pytest.raises(ArtifactGone, match="archive"):
        Baselines(results).set(run, cache=cache)
    second = cached_run(results, cache, body="end()")
    for runner in cache.root.glob("runners/*/device_runner"):
        runner.write_text("#!/bin/sh\n")
    with pytest.raises(ArtifactGone, match="damaged"):
        Baselines(results).set(second, cache=cache)
    assert [path.name for path in (results / "baselines" / "objects").iterdir() if path.name.startswith(".")] == []


def test_damage_is_reported_before_anything_runs(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    baselines = Baselines(results)
    baselines.set(cached_run(results, cache), "main", cache=cache)
    kept = baselines.runner("main", "cache").path
    with pytest.raises(BaselineUnusable, match="it has: cache"):
        baselines.runner("main", "cacheless")
    kept.write_bytes(b"other")
    with pytest.raises(BaselineDamaged, match="other contents"):
        baselines.runner("main", "cache")
    kept.unlink()
    with pytest.raises(BaselineDamaged, match="missing"):
        baselines.runner("main", "cache")
    (results / "baselines" / "main.json").write_text("{")
    with pytest.raises(BaselineDamaged, match=r"main\.json"):
        baselines.get("main")
    with pytest.raises(BaselineNotFound, match="nothing"):
        baselines.remove("nothing")
    baselines.remove("main")
    assert baselines.names() == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run = cached_run(results, cache)
    (results / "baselines").write_text("a file")
    with pytest.raises(StorageUnwritable):
        Baselines(results).set(run, cache=cache)


def test_the_commands(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run = cached_run(results, cache)

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.run(
            [sys.executable, "-m", "harness.cli", "baseline", *arguments, "--results-dir", str(results)],
            cwd=REPOSITORY,
            env={"HARNESS_CACHE_DIR": str(cache.root), "PATH": "/usr/bin:/bin", "PYTHONPATH": python_path(REPOSITORY)},
        )

    assert harness("set", "latest", "--name", "main").stdout == "main\n"
    assert run.run_id in harness("list").stdout
    assert run.run_id in harness("show", "main").stdout
    assert '"runner_sha256"' in harness("show", "main", "--json").stdout
    unknown = harness("show", "other")
    assert (unknown.returncode, "there are: main" in unknown.stderr) == (2, True)
    assert "removed" in harness("rm", "main").stdout
    assert Store(results).find("latest").run_id == run.run_id, "baselines are no runs"


def test_only_complete_latency_orders_count(tmp_path: Path, cache: Cache) -> None:
    results = tmp_path / "results"
    run = cached_run(results, cache)
    entry = OrderEntry(order_id="latency-cache-1", purpose="latency", workload="g2p", variant="cache", started="x")
    RunWriter(run.folder, run.manifest()).update(orders=[entry])
    with pytest.raises(BaselineUnusable, match="to the end"):
        Baselines(results).set(run, cache=cache)
