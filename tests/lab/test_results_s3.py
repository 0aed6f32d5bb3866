"""Everybody's results on S3, while stores and clients are killed, have no room, or are refused."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from harness.core.store import FileStore
from harness.core.store_errors import StoreFailed
from harness.regression.nightly import NightlyRun
from harness.regression.verdicts import judge_nightly
from harness.results import Run, Store
from harness.results.history import query
from harness.results.journal import read_journal, write_plan
from harness.results.shared import after_runs, shared_store, uploader
from harness.results.shared.sync import planned
from harness.results.shared.unfinished import Unfinished
from tests.lab.conftest import PATIENCE, await_
from tests.lab.seaweed import Server
from tests.lab.writers import copies, differences, measure_nightly, numbered, upload_all
from tests.lab.wrong_clock import compile_clock, off_by
from tests.nightly import FakeDevice, make_plan
from tests.results.samples import make_run

pytestmark = [pytest.mark.programs, pytest.mark.thorough]

WRITERS, RUNS_EACH, KILLED = 8, 1, 5
_FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    built = Server(tmp_path_factory.mktemp("s3") / "server")
    built.make_bucket("lab")
    yield built
    built.kill()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("original")).folder


@pytest.fixture(autouse=True)
def client(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def test_eight_writers_of_whom_one_is_killed_all_the_time(server: Server, original: Path, tmp_path: Path) -> None:
    """All of them begin with no table at all, and each has to make some."""
    url, rng, killed = "s3://lab/writers", random.Random(7), 0
    folders = [tmp_path / f"results-{number}" for number in range(WRITERS)]
    for number, folder in enumerate(folders):
        copies(folder, original, numbered(number * RUNS_EACH, RUNS_EACH))

    def started(folder: Path) -> multiprocessing.process.BaseProcess:
        process = _FORKS.Process(target=upload_all, args=(str(folder), url, server.environment), daemon=True)
        process.start()
        return process

    writers = {folder: started(folder) for folder in folders}
    until = time.monotonic() + 3 * PATIENCE
    while writers:
        time.sleep(1.0)
        assert time.monotonic() < until, f"{len(writers)} writers have not ended"
        for folder, process in list(writers.items()):
            if process.exitcode == 0:
                del writers[folder]
            elif process.exitcode is not None:
                writers[folder] = started(folder)
        running = [process for process in writers.values() if process.is_alive()]
        if running and killed < KILLED:
            rng.choice(running).kill()
            killed += 1
    assert killed == KILLED
    assert differences(url, *folders) == []


def test_a_client_that_is_killed_while_it_measures(server: Server, tmp_path: Path) -> None:
    """What it had measured is on S3, in a nightly run that has not ended; the resumed one completes it."""
    results, url = tmp_path / "results", "s3://lab/measuring"
    results.mkdir()
    plan = make_plan(results).model_copy(update={"facts": {"phone": {"kind": "android"}}})
    folder = results / "nightly" / plan.night_id
    write_plan(folder, plan)
    words = (str(results), plan.night_id, url, server.environment, 8)
    process = _FORKS.Process(target=measure_nightly, args=words, daemon=True)
    process.start()

    def pairs() -> int:
        if plan.night_id not in shared_store(url).names("nightly"):
            return 0
        return len(read_journal(shared_store(url).fetched("nightly", plan.night_id)).all_pairs("phone/cache"))

    await_("four pairs are on S3", lambda: pairs() == 4)
    process.kill()
    process.join(PATIENCE)
    planned(results).carry_out(uploader(url))
    assert query(shared_store(url), "SELECT count(*) FROM nights").rows == [(0,)]
    result = NightlyRun(folder, plan, {"phone": FakeDevice()}, notify=lambda _: None).run()
    judge_nightly(results, folder, result)
    for _ in range(2):
        assert after_runs(url, results, nightly_runs=[plan.night_id]) == f"uploaded to {url}"
    here, there = (
        query(store, "SELECT count(*) FROM night_pairs").rows for store in (Store(results), shared_store(url))
    )
    assert here == there != [(0,)]
    assert Unfinished(FileStore(url)).names("nightly") == {}
    left = [one["path"] for batch in obstore.list(S3Store("lab"), prefix="measuring/unfinished") for one in batch]
    assert left == []


def test_a_store_that_is_killed_in_mid_upload(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Server(tmp_path / "server")
    try:
        own.make_bucket("lab")
        for name, value in own.environment.items():
            monkeypatch.setenv(name, value)
        results, url = tmp_path / "results", "s3://lab/killed"
        copies(results, original, numbered(0, 3))
        before, killed, after = planned(results).items
        to = uploader(url, patience=timedelta(seconds=1))
        to.upload(before)

        def kill_soon(text: str) -> None:
            if "samples" in text:
                threading.Timer(0.01, own.kill).start()

        with pytest.raises(StoreFailed):
            to.upload(killed, kill_soon)
        assert after_runs(url, results, [after.name]).startswith("not uploaded: the store s3://lab/killed failed")
        own.start()
        # A client of before the kill goes on, and one of after it finds nothing left to do.
        for item in (before, killed, after):
            to.upload(item)
        again = planned(results)
        again.carry_out(uploader(url))
        assert [one.new for one in again.uploaded] == [False, False, False]
        assert differences(url, results) == []
    finally:
        own.kill()


def test_a_store_without_room(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has room for some of the runs. It is given more, and the rest follows."""
    own = Server(tmp_path / "server", "-volume.max=1", "-master.volumeSizeLimitMB=1")
    try:
        own.make_bucket("lab")
        for name, value in own.environment.items():
            monkeypatch.setenv(name, value)
        results, url = tmp_path / "results", "s3://lab/full"
        copies(results, original, numbered(0, 2))
        for run in Store(results).runs():
            (run.folder / "explain").mkdir()
            (run.folder / "explain" / "page.html").write_bytes(os.urandom(1_200_000))
        plan = planned(results)
        with pytest.raises(StoreFailed, match="the store s3://lab/full failed"):
            plan.carry_out(uploader(url, patience=timedelta(seconds=2)))
        assert plan.rest[0]
        assert not set(shared_store(url).names("runs")) & {item.name for item in plan.rest[0]}
        own.kill()
        own.start("-volume.max=30")
        again = planned(results)
        again.carry_out(uploader(url))
        assert again.rest[0] == []
        assert differences(url, results) == []
    finally:
        own.kill()


def test_a_stale_credential(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, url = tmp_path / "results", "s3://lab/stale"
    copies(results, original, numbered(0, 2))
    first, second = planned(results).items
    uploader(url).upload(first)
    with monkeypatch.context() as stale:
        stale.setenv("AWS_SECRET_ACCESS_KEY", "of-yesterday")
        said = after_runs(url, results, [second.name])
        assert said.startswith("not uploaded: the store s3://lab/stale failed")
        assert "of-yesterday" not in said
        with pytest.raises(StoreFailed):
            shared_store(url).runs()
        with pytest.raises(StoreFailed) as refused:
            query(shared_store(url), "SELECT count(*) FROM runs")
        assert "of-yesterday" not in str(refused.value)
    assert [run.run_id for run in shared_store(url).runs()] == [first.name]
    assert after_runs(url, results, [second.name]) == f"uploaded to {url}"
    assert differences(url, results) == []


@pytest.mark.parametrize(("place", "off"), [("s3", "+1h"), ("folder", "-1h")])
def test_a_clock_that_is_off_by_an_hour(original: Path, tmp_path: Path, off: str, place: str) -> None:
    """One client's clock is wrong. S3 refuses it, and a folder does not mind; in the end all runs are there once."""
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    url = (
        f"s3://lab/clock{off[1:]}{'ahead' if off[0] == '+' else 'behind'}"
        if place == "s3"
        else f"file://{tmp_path}/store"
    )
    copies(wrong, original, numbered(0, 1))
    copies(right, original, numbered(1, 1))
    for item in planned(right).items:
        uploader(url).upload(item)
    command = [sys.executable, "-m", "harness.cli", "sync", "--results-url", url, "--results-dir", str(wrong)]
    fooled = off_by(compile_clock(tmp_path), 3600 if off[0] == "+" else -3600)
    done = subprocess.run(command, env=fooled, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if place == "s3":
        assert done.returncode == 3
        assert "set this machine's clock" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    for folder in (wrong, right):
        planned(folder).carry_out(uploader(url))
    assert differences(url, wrong, right) == []


def test_only_the_columns_and_partitions_that_a_query_needs_are_read(original: Path, tmp_path: Path) -> None:
    from harness.results.shared.reading import SMALL, _Ranges

    results, url = tmp_path / "results", "s3://lab/columns"
    copies(results, original, ["20261030-120000-000-abcd", "20261130-120000-000-abcd"])
    for run in Store(results).runs():
        lines = (run.folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
        timed = [line for line in lines if '"timed"' in line]
        rng = random.Random(run.run_id)
        with (run.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
            for _ in range(8_000):
                text = f'"text":"{rng.randbytes(150).hex()}"'
                file.write(rng.choice(timed).replace('"text":"', f"{text[:-1]}", 1) + "\n")
    planned(results).carry_out(uploader(url))
    read: list[tuple[str, int]] = []
    get = _Ranges._get

    def counted(self: _Ranges, key: str, start: int, length: int) -> bytes:
        read.append((key, length))
        return get(self, key, start, length)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_Ranges, "_get", counted)
        store = shared_store(url)
        sizes = {file.path: file.size for file in store.files("samples")}
        assert len(sizes) == 2
        assert min(sizes.values()) > SMALL, "the files are so small that they are fetched whole"
        sql = "SELECT count(*), median(total_ns) FROM samples WHERE part_month = '2026-11'"
        assert query(store, sql).rows[0][0] == query(store, "SELECT count(*) FROM samples").rows[0][0] / 2
        read.clear()
        query(store, sql)
    november = [length for key, length in read if "part_month=2026-11" in key]
    assert sum(november) < min(sizes.values()) / 2
    # DuckDB asks one file for the columns' types, which may be that of another month.
    assert sum(length for key, length in read if "part_month=2026-11" not in key) <= SMALL


def test_a_run_is_fetched_once_and_a_forged_file_is_refused(original: Path, tmp_path: Path) -> None:
    results, url = tmp_path / "results", "s3://lab/forged"
    copies(results, original, numbered(0, 2))
    planned(results).carry_out(uploader(url))
    kept, forged = (shared_store(url).find(name) for name in numbered(0, 2))
    assert kept.manifest() == Run(results / kept.run_id).manifest()
    store = S3Store("lab")
    for batch in obstore.list(store, prefix="forged/files"):
        for one in batch:
            obstore.put(store, one["path"], b"forged")
    assert kept.manifest() == Run(results / kept.run_id).manifest()
    with pytest.raises(StoreFailed, match="other contents"):
        forged.manifest()
    with pytest.raises(StoreFailed, match="other contents"):
        _ = shared_store(url).find(kept.run_id).folder
