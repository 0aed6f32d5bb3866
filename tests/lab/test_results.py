"""Everybody's results in a folder: what is uploaded, when it is uploaded again, and what reads it."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.regression.nightly import NightlyRun
from harness.regression.verdicts import judge_nightly
from harness.results import Run, RunStatus, RunWriter, Store
from harness.results.baselines import Baselines
from harness.results.errors import RunDamaged
from harness.results.every_table import TABLES
from harness.results.history import QueryRefused, query
from harness.results.journal import write_plan
from harness.results.shared import VARIABLE, after_runs, shared_store, uploader
from harness.results.shared.borrowing import borrow_baseline, nightly_runs_of_all
from harness.results.shared.delta import DeltaTables
from harness.results.shared.sync import planned
from harness.results.tables import Table
from tests.cli.called import call
from tests.lab.conftest import PATIENCE, await_
from tests.lab.writers import copies, differences, numbered, upload_all
from tests.nightly import FakeDevice, make_plan
from tests.results.kept import cached_run
from tests.results.made_models import BERT
from tests.results.samples import make_run
from tests.results.test_nightly import Years

pytestmark = pytest.mark.programs

_FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("original")).folder


def nightly_run(results: Path, **facts: Any) -> Path:
    results.mkdir(exist_ok=True)
    plan = make_plan(results, **facts)
    plan = plan.model_copy(update={"facts": {"phone": {"kind": "android"}}})
    folder = results / "nightly" / plan.night_id
    write_plan(folder, plan)
    judge_nightly(results, folder, NightlyRun(folder, plan, {"phone": FakeDevice()}, notify=lambda _: None).run())
    return folder


def rows(store: Store, table: str) -> list[tuple[Any, ...]]:
    return query(store, f"SELECT {', '.join(TABLES[table].columns)} FROM {table} ORDER BY ALL").rows


def test_every_table_has_what_the_folder_has(results: Path, url: str) -> None:
    make_run(results, models=[BERT], device="it's ü\n\x1b", emulated=True)
    make_run(results, wrong=("w1",), seed=2, ended=True, complete=False)
    (profiled := results / "20260101-000000-000-abcd").mkdir()
    (profiled / "manifest.json").write_text("{")
    nightly_run(results, slower=0.08)
    planned(results).carry_out(uploader(url))
    shared = shared_store(url)
    for table in TABLES:
        assert rows(shared, table) == rows(Store(results), table), table
    assert len(rows(shared, "night_pairs")) > 0
    assert rows(shared, "runs")[0][1] == "damaged"
    assert query(shared, "SELECT DISTINCT part_month, part_device_kind FROM nights").rows[0][1] == "android"
    assert {row[0] for row in query(shared, "SELECT part_device_kind FROM runs").rows} == {"unknown", "host"}
    with pytest.raises(QueryRefused):
        query(
            shared, f"SELECT * FROM read_parquet('{url.removeprefix('file://')}/tables/**')".replace("tables", "files")
        )


def test_nothing_is_uploaded_twice_and_what_has_changed_is_replaced(results: Path, original: Path, url: str) -> None:
    copies(results, original, numbered(0, 2))
    to = uploader(url)
    first, second = planned(results).items
    assert to.upload(first).new
    assert to.upload(second).rows > 0
    assert [to.upload(item).new for item in (first, second)] == [False, False]
    # Without the receipts the store's own markers are compared.
    for receipt in results.glob(".uploaded/*/*/*.json"):
        receipt.unlink()
    again = [uploader(url).upload(item) for item in (first, second)]
    assert [(one.new, one.rows) for one in again] == [(False, 0), (False, 0)]
    # A page that belongs to no table leaves the rows alone.
    (first.folder / "explain").mkdir()
    (first.folder / "explain" / "page.html").write_text("why")
    assert (to.upload(first).new, to.upload(first).new) == (True, False)
    assert differences(url, results) == []
    # A manifest that has changed gives other rows, in the place of the old ones.
    run = Run(second.folder)
    RunWriter(run.folder, run.manifest()).update(status=RunStatus.FAILED, reason="changed")
    changed = to.upload(second)
    assert changed.new
    assert changed.rows > 0
    assert query(shared_store(url), "SELECT run FROM runs WHERE reason = 'changed'").rows == [(second.name,)]
    assert differences(url, results) == []
    assert to.tables.compact(TABLES["samples"]) == (2, 1)
    assert differences(url, results) == []


@pytest.mark.parametrize("step", [" files", "workloads", "samples", ": runs"])
def test_a_client_that_is_killed_goes_on_later(results: Path, original: Path, url: str, step: str) -> None:
    copies(results, original, numbered(0, 1))
    process = _FORKS.Process(target=upload_all, args=(str(results), url, {}, step))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert shared_store(url).runs() == []
    # What a killed client has appended is not counted twice, whoever finishes its work.
    planned(results).carry_out(uploader(url))
    assert differences(url, results) == []


@pytest.mark.parametrize("before", [0, 1])
def test_two_clients_with_the_same_run_at_the_same_time(
    results: Path, original: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Both have seen that the rows of each table are not there, and append them. Without runs before, both make it."""
    others, first = tmp_path / "others", tmp_path / "first"
    for folder in (results, others):
        copies(folder, original, numbered(1, 1))
    copies(first, original, numbered(0, before))
    planned(first).carry_out(uploader(url))
    met: dict[str, threading.Barrier] = defaultdict(lambda: threading.Barrier(2))
    seen: set[tuple[int, str]] = set()
    write, made = DeltaTables._write, DeltaTables._made

    def meet(what: str, table: Table) -> None:
        key = (threading.get_ident(), f"{what} {table.name}")
        if key not in seen:
            seen.add(key)
            met[key[1]].wait(PATIENCE)

    def write_together(self: DeltaTables, current: Any, table: Table, *rest: Any) -> None:
        meet("write", table)
        write(self, current, table, *rest)

    def make_together(self: DeltaTables, table: Table, rows: Any) -> Any:
        meet("make", table)
        return made(self, table, rows)

    monkeypatch.setattr(DeltaTables, "_write", write_together)
    monkeypatch.setattr(DeltaTables, "_made", make_together)
    failures: list[BaseException] = []

    def work(folder: Path) -> None:
        try:
            uploader(url).upload(planned(folder).items[0])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(folder,)) for folder in (results, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert len([key for key in seen if key[1].startswith("write")]) == 16
    assert differences(url, first, results) == []


def test_runs_that_go_on_are_left_for_later(results: Path, url: str) -> None:
    going_on = make_run(results, ended=False)
    killed = make_run(results, ended=False, seed=2)
    writer = RunWriter(going_on.folder, going_on.manifest())
    plan = planned(results)
    writer.close()
    assert plan.waiting == [going_on.run_id]
    plan.carry_out(uploader(url))
    assert [run.run_id for run in shared_store(url).runs()] == [killed.run_id]
    assert query(shared_store(url), "SELECT run, status FROM runs").rows == [(killed.run_id, "incomplete")]


def test_commands_read_a_store_as_they_read_a_folder(
    results: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = Cache(tmp_path / "cache")
    runs = [cached_run(results, cache), make_run(results, scale=1.2, seed=2)]
    Baselines(results).set(runs[0], "release", cache=cache)
    night = nightly_run(results, slower=0.08)
    synced = call(capsys, "sync", "--results-url", url, "--results-dir", str(results), "--json", "--compact")
    assert synced.code == 0, synced.err
    document = json.loads(synced.out)
    names = {runs[0].run_id, runs[1].run_id, night.name, "release"}
    assert {one["name"] for one in document["uploaded"]} == names
    assert {one["table"] for one in document["compacted"]} == set(TABLES)
    again = call(capsys, "sync", "--results-url", url, "--results-dir", str(results), "--dry-run", "--json")
    assert set(json.loads(again.out)["present"]) == names
    page = tmp_path / "page.html"
    for command in (
        ("runs", "--json"),
        ("show", "latest", "--json"),
        ("show", runs[0].run_id, "--markdown"),
        ("compare", "latest~1", "latest", "--json"),
        ("compare", "latest~1", "latest"),
        ("report", "latest~1", "latest", "--night", "latest", "--output", str(page)),
        ("report", night.name[:20], "--markdown=-"),
        ("nights", "--json"),
        ("nights", "latest", "--json"),
        ("baseline", "list", "--json"),
        ("baseline", "show", "release", "--json"),
        ("query", "--json", "SELECT run, median(total_ns) FROM samples GROUP BY run ORDER BY run"),
    ):
        here = call(capsys, *command, "--results-dir", str(results))
        pages = [page.read_text(encoding="utf-8")] if str(page) in command else []
        there = call(capsys, *command, "--results-url", url, "--results-dir", str(tmp_path / "none"))
        assert (here.code, here.err) == (there.code, there.err) == (0, "")
        assert here.out == there.out.replace(url, str(results)), command
        assert all(one == page.read_text(encoding="utf-8") for one in pages)
    gone = call(capsys, "show", "20200101", "--results-url", url)
    assert gone.code == 2
    assert url in gone.err


def test_a_baseline_of_the_store_is_used_and_so_are_its_nightly_runs(results: Path, url: str, tmp_path: Path) -> None:
    cache, notices = Cache(tmp_path / "cache"), list[str]()
    kept = Baselines(results).set(cached_run(results, cache), "release", cache=cache)
    night = nightly_run(results)
    planned(results).carry_out(uploader(url))
    elsewhere = tmp_path / "elsewhere"
    for _ in range(2):
        borrow_baseline(url, "release", elsewhere, notices.append)
    assert notices == [f"baseline release came from {url}"]
    assert Baselines(elsewhere).get("release") == kept
    assert os.access(Baselines(elsewhere).runner("release", "cache").path, os.X_OK)
    assert [record.night_id for record in nightly_runs_of_all(url, notices.append)] == [night.name]
    assert len(nightly_runs_of_all("file:///proc/nowhere", notices.append)) == 0
    assert "this machine alone" in notices[-1]


def test_drift_is_found_over_the_nightly_runs_of_another_machine(results: Path, url: str, tmp_path: Path) -> None:
    """One nightly run here goes on at the level that five there had reached: alone it shows no drift."""
    results.mkdir()
    years, rng = Years(results), random.Random(2)
    plan = make_plan(results, slower=0.025)
    a = plan.units[0].a.sha256
    ids = [years.nightly(rng.gauss(-0.02, 0.003), a=a, b=f"o{at}") for at in range(16)]
    ids += [years.nightly(rng.gauss(0.025, 0.003), a=a, b=f"n{at}") for at in range(5)]
    planned(results).carry_out(uploader(url))
    others = nightly_runs_of_all(url, lambda _: None)
    assert [record.night_id for record in others] == ids
    folder = tmp_path / "elsewhere" / "nightly" / plan.night_id
    write_plan(folder, plan)
    result = NightlyRun(folder, plan, {"phone": FakeDevice(noise=0.003)}, notify=lambda _: None).run()
    assert judge_nightly(tmp_path / "elsewhere", folder, result).state == "pass"
    together = judge_nightly(tmp_path / "elsewhere", folder, result, others)
    assert together.state == "warn"
    assert together.verdicts is not None
    assert ids[16] in {drift.night_id for drift in together.verdicts.drifts}


def test_without_the_store_everything_goes_on(
    results: Path, original: Path, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(results, original, numbered(0, 1))
    for name, value in {"ENDPOINT": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    away = "s3://lab/away"
    said = after_runs(away, results, numbered(0, 1))
    assert said.startswith(f"not uploaded: the store {away} failed while listing runs")
    assert said.endswith("`harness sync` does it later")
    done = call(capsys, "query", "--results-url", away, "SELECT 1 FROM runs")
    assert (done.code, done.out) == (3, "")
    for command in (
        ("sync",),
        ("sync", "--results-url", "ftp://a/b"),
        ("sync", "--results-url", "file:///a folder"),
        ("runs", "--results-url", "s3://a:b@c/d"),
    ):
        done = call(capsys, *command, "--results-dir", str(results))
        assert (done.code, done.out) == (2, "")
        assert "a:b" not in done.err
    monkeypatch.setenv(VARIABLE, url)
    done = call(capsys, "sync", "--results-dir", str(results))
    assert done.code == 0
    assert differences(url, results) == []


def test_what_is_damaged_does_not_stop_the_rest(
    results: Path, original: Path, url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    Baselines(results).set(cached_run(results, cache), "release", cache=cache)
    (results / "baselines" / "release.json").write_text("{")
    copies(results, original, numbered(0, 2))
    listed = call(capsys, "sync", "--dry-run", "--json", "--results-url", url, "--results-dir", str(results))
    assert (listed.code, "release" in json.loads(listed.out)["pending"]) == (0, True)
    done = call(capsys, "sync", "--results-url", url, "--results-dir", str(results))
    assert done.code == 3
    assert "release cannot be uploaded" in done.err
    assert differences(url, results) == []


def test_ctrl_c_ends_a_sync(results: Path, original: Path, url: str, tmp_path: Path) -> None:
    copies(results, original, numbered(0, 30))
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "sync",
        "--results-url",
        url,
        "--results-dir",
        str(results),
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        await_("two runs are in the store", lambda: len(list((tmp_path / "store" / "runs").glob("*.json"))) > 1)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert "interrupted" in err
    document = json.loads(out)
    assert document["uploaded"]
    assert document["pending"]
    there = {run.run_id for run in shared_store(url).runs()}
    assert there >= {one["name"] for one in document["uploaded"]}


def test_a_file_that_goes_away_is_an_error_of_its_run(results: Path, original: Path, url: str) -> None:
    copies(results, original, numbered(0, 1))
    (item,) = planned(results).items

    def remove(text: str) -> None:
        if " files" in text:
            (item.folder / "samples.jsonl").unlink()

    with pytest.raises(RunDamaged, match="went away"):
        uploader(url).upload(item, remove)
    assert shared_store(url).runs() == []


def test_a_query_of_a_folder_imports_nothing_of_the_lab(results: Path, original: Path) -> None:
    copies(results, original, numbered(0, 1))
    script = (
        "import sys; from pathlib import Path; from harness.results import Store; "
        "from harness.results.history import query; "
        f"print(query(Store(Path({str(results)!r})), 'SELECT count(*) FROM samples').rows); "
        "print([name for name in ('obstore', 'deltalake', 'fsspec', 'distributed') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.splitlines()[1] == "[]"
