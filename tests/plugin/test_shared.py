"""``pytest suites --results-url``: runs go to everybody's results when they end, and to the folder in any case."""

from __future__ import annotations

import pytest

from harness.core.cache import Cache
from harness.results.baselines import Baselines
from harness.results.shared import shared_store, uploader
from harness.results.shared.sync import planned
from tests.plugin.project import Project
from tests.results.kept import cached_run, noisy

pytestmark = pytest.mark.programs


def test_a_run_is_uploaded_and_judged_beside_everybodys_baseline(project: Project) -> None:
    url, cache = f"file://{project.folder}/store", Cache(project.folder / "cache")
    body = noisy(1e6) + "#" * 1000
    Baselines(project.store.root).set(cached_run(project.store.root, cache, body=body), "main", cache=cache)
    planned(project.store.root).carry_out(uploader(url))
    Baselines(project.store.root).remove("main")
    project.behave(body=noisy(1e6))
    done = project.suites("-k", "baseline", "--baseline", "main", "--results-url", url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"uploaded to {url}" in done.stdout
    run = project.store.find("latest")
    gate = run.manifest().gate
    assert gate is not None
    there = shared_store(url)
    assert there.find("latest").manifest() == run.manifest()
    assert list(there.names("nightly")) == [gate.night_id]


def test_a_store_that_fails_costs_a_run_nothing(project: Project) -> None:
    (project.folder / "store").write_text("a file")
    url = f"file://{project.folder}/store"
    done = project.suites("-k", "smoke", "--results-url", url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not uploaded: the store" in done.stdout
    assert "`harness sync` does it later" in done.stdout
    assert project.store.find("latest").summary() is not None


def test_a_wrong_address_is_noticed_before_anything_runs(project: Project) -> None:
    done = project.suites("-k", "smoke", "--results-url", "nowhere")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is no address of a store" in done.stdout + done.stderr
    assert not project.store.root.exists()
