"""SQL over stored runs: what is there, what is broken, what changes, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from harness.core.cache import CacheBusy
from harness.protocol.schema import Phase, Sample
from harness.results import RunDamaged, StorageUnwritable, Store, columnar
from harness.results.every_table import TABLES
from harness.results.history import Answer, QueryRefused, QueryTimeout, export_parquet, query
from tests.results.samples import make_run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def asker(results: Path, cache: Path) -> Callable[..., Answer]:
    return lambda sql, **more: query(Store(results), sql, cache=cache, **more)


def segments(cache: Path, table: str) -> list[Path]:
    return sorted(cache.glob(f"history/*/{table}-*/*.parquet"))


def test_every_table_has_what_the_files_have(results: Path, cache: Path) -> None:
    run, _ = make_run(results), make_run(results, wrong=("w0",), seed=2)
    ask = asker(results, cache)
    summary = run.summary()
    assert summary is not None
    assert summary.workloads["g2p"].warm is not None
    columns = "run, verdict, status, median_ns, per, commit, dirty"
    found = ask(f"SELECT {columns} FROM runs JOIN workloads USING (run) ORDER BY run")
    assert found.columns == ["run", "verdict", "status", "median_ns", "per", "commit", "dirty"]
    assert found.rows[0] == (
        run.run_id,
        "pass",
        "complete",
        summary.workloads["g2p"].warm.median,
        summary.workloads["g2p"].accuracy["cache"]["all"].per,
        "c0ffee" * 6 + "beef",
        True,
    )
    assert found.rows[1][1] == "fail"
    timed = [
        line.record.total_ns
        for line in run.samples()
        if isinstance(line.record, Sample) and line.record.phase is Phase.TIMED
    ]
    (row,) = ask(
        "SELECT count(*), median(total_ns), sum(tokens) FROM samples JOIN orders USING (run, order_id) "
        f"WHERE phase = 'timed' AND purpose = 'latency' AND run = '{run.run_id}'"
    ).rows
    assert row[:2] == (len(timed), statistics.median(timed))
    assert ask("SELECT count(*) FROM samples").rows == [(2 * 18,)]
    assert ask("SELECT label FROM parity WHERE verdict = 'mismatch'").rows == [("cat",)]
    assert ask("SELECT pronunciations FROM reference WHERE label = 'dog' LIMIT 1").rows == [(["dɔɡ", "dɒɡ"],)]
    assert ask("SELECT DISTINCT archive_bytes, runner_bytes FROM variants").rows == [(5_000_000, 9_000_000)]
    battery = ask("SELECT DISTINCT CAST(conditions_after->'battery'->>'celsius' AS DOUBLE) FROM orders")
    assert battery.rows == [(31.0,)]


def test_moments_are_utc(results: Path, cache: Path) -> None:
    run = make_run(results)
    (row,) = asker(results, cache)("SELECT started, ended >= started FROM runs").rows
    assert row[0].isoformat(timespec="milliseconds") + "+00:00" == run.manifest().started
    assert row[1] is True


def test_broken_runs_do_not_stop_the_others(results: Path, cache: Path) -> None:
    whole, torn, half, wild = (make_run(results, seed=seed) for seed in range(4))
    ask = asker(results, cache)
    with (torn.folder / "samples.jsonl").open("a") as file:
        file.write('{"order":"latency-cache-1","record":{"record":"sample","mo')
    with (torn.folder / "parity.jsonl").open("ab") as file:
        file.write(b'\xff\x00 no JSON\n[1]\n{"comparison": 3, "item": {}}\n7\n')
    (half.folder / "manifest.json").write_text('{"run_id": "')
    (half.folder / "reference.jsonl").unlink()
    (half.folder / "samples.jsonl").write_bytes(b"\0" * 5000)
    (wild.folder / "summary.json").write_text("[]")
    shutil.rmtree(wild.folder / "orders")
    (results / "20990101-000000-000-aaaa").mkdir()
    (results / "20990101-000000-000-bbbb").write_text("a file")
    found = dict(ask("SELECT run, status FROM runs").rows)
    assert found[whole.run_id] == found[torn.run_id] == "complete"
    assert found[half.run_id] == found[wild.run_id] == found["20990101-000000-000-aaaa"] == "damaged"
    counts = dict(ask("SELECT run, count(*) FROM samples GROUP BY run").rows)
    assert counts == {whole.run_id: 18, torn.run_id: 18, wild.run_id: 18}
    # A line of wrong types is taken for what it can be read as; one without a word is none.
    assert dict(ask("SELECT run, count(*) FROM parity WHERE label IS NOT NULL GROUP BY run").rows)[torn.run_id] == 3
    assert half.run_id not in dict(ask("SELECT run, count(*) FROM reference GROUP BY run").rows)
    assert ask("SELECT reason FROM runs WHERE status = 'damaged' ORDER BY run LIMIT 1").rows[0][0]


def test_no_runs_and_no_folder(tmp_path: Path, cache: Path) -> None:
    for table in TABLES:
        assert asker(tmp_path / "none", cache)(f"SELECT * FROM {table}").rows == []


@pytest.mark.parametrize("name", ["o'clock", 'a "b"', "[x]*?", "späße 日本", "semi;colon -- x", "new\nline"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    results, cache, out = tmp_path / name / "results", tmp_path / name / "cache", tmp_path / name / "out"
    make_run(results)
    # What a pattern would match besides.
    make_run(tmp_path / "x" / "results")
    assert asker(results, cache)("SELECT count(*) FROM samples").rows == [(18,)]
    assert asker(results, cache)("SELECT count(*) FROM samples JOIN runs USING (run)").rows == [(18,)]
    assert export_parquet(Store(results), out, cache=cache)[0] == out / "runs.parquet"


def test_only_what_changed_is_read_again(results: Path, cache: Path) -> None:
    first, second = make_run(results, seed=1), make_run(results, seed=2)
    ask = asker(results, cache)
    count = "SELECT count(*) FROM samples"
    assert ask(count).rows == [(36,)]
    (segment,) = segments(cache, "samples")
    before = segment.stat().st_mtime_ns
    assert segments(cache, "parity") == [], "a query reads what it mentions"
    assert ask(count).rows == [(36,)]
    third = make_run(results, seed=3)
    assert ask(count).rows == [(54,)]
    assert len(segments(cache, "samples")) == 2
    assert segment.stat().st_mtime_ns == before
    lines = (second.folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (second.folder / "samples.jsonl").write_text("".join(lines + lines[-3:-1]))
    assert ask(count).rows == [(54 + 2,)]
    shutil.rmtree(first.folder)
    assert ask(count).rows == [(38,)]
    assert set(ask("SELECT DISTINCT run FROM samples").rows) == {(second.run_id,), (third.run_id,)}


def test_many_small_segments_become_one(results: Path, cache: Path) -> None:
    ask = asker(results, cache)
    for seed in range(columnar.MOST_SEGMENTS + 3):
        make_run(results, seed=seed)
        assert ask("SELECT count(*), count(DISTINCT run) FROM samples").rows == [(18 * (seed + 1), seed + 1)]
        assert len(segments(cache, "samples")) <= columnar.MOST_SEGMENTS
    assert len(list(cache.glob("history/*/samples-*/*.json"))) == len(segments(cache, "samples"))


def test_a_damaged_cache_is_made_again(results: Path, cache: Path) -> None:
    make_run(results)
    ask = asker(results, cache)
    ask("SELECT count(*) FROM samples")
    (segment,) = segments(cache, "samples")
    whole = segment.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"x" * len(whole)):
        (segment,) = segments(cache, "samples")
        segment.write_bytes(damage)
        assert ask("SELECT count(*), sum(total_ns) > 0 FROM samples").rows == [(18, True)]
    (index,) = cache.glob("history/*/samples-*/*.json")
    index.write_text("{")
    assert ask("SELECT count(*) FROM samples").rows == [(18,)]


def test_a_query_killed_at_work_leaves_a_usable_cache(results: Path, cache: Path) -> None:
    for seed in range(3):
        make_run(results, seed=seed)
    program = (
        "import os, signal, pathlib, sys\n"
        "from harness.results import Store, columnar\n"
        "from harness.results.history import query\n"
        "columnar.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "query(Store(pathlib.Path(sys.argv[1])), 'SELECT * FROM samples', cache=pathlib.Path(sys.argv[2]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(results), str(cache)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(segments(cache, "samples")) == 1, "it was killed between the rows and the index"
    assert asker(results, cache)("SELECT count(*) FROM samples").rows == [(54,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE runs",
        "DELETE FROM runs",
        "CREATE TABLE x AS SELECT 1",
        "COPY runs TO 'out.csv'",
        "SELECT 1; SELECT 2",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH 'other.db'",
        "SET enable_external_access = true",
        "PRAGMA version",
        "EXPLAIN ANALYZE COPY runs TO 'out.csv'",
        "SELECT * FROM query('COPY runs TO out.csv')",
        "SELECT nothing FROM runs",
        "SELECT * FROM nowhere",
        "SELEC",
        "",
        "SELECT * FROM 'manifest.json'",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM glob('{file}')",
        "SELECT * FROM 'http://127.0.0.1:{port}/x.parquet'",
        "SELECT * FROM Store",
        "SELECT CAST('x' AS INTEGER)",
    ],
)
def test_nothing_but_a_question_about_runs(results: Path, cache: Path, sql: str, tmp_path: Path) -> None:
    make_run(results)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(QueryRefused) as refused:
            asker(results, cache)(sql.format(file=secret, port=server.getsockname()[1]))
        with pytest.raises(BlockingIOError):  # nobody has knocked
            server.accept()
    assert "DESCRIBE runs" in refused.value.cure
    assert asker(results, cache)("SELECT count(*) FROM runs").rows == [(1,)]
    assert not Path("out.csv").exists()


def test_names_of_columns_aliases_and_other_spellings(results: Path, cache: Path) -> None:
    make_run(results)
    ask = asker(results, cache)
    assert ask("SELECT samples FROM workloads").rows == [(15,)]
    assert segments(cache, "samples") == [], "a column's name is no table's"
    assert ask("WITH parity AS (SELECT 7 AS x) SELECT x FROM parity").rows == [(7,)]
    assert ask("FROM main.RUNS SELECT count(*)").rows == [(1,)]
    assert [row[0] for row in ask("DESCRIBE variants").rows] == list(TABLES["variants"].columns)


def test_a_query_that_never_ends_is_ended(results: Path, cache: Path) -> None:
    make_run(results)
    with pytest.raises(QueryTimeout, match=r"more than 0\.3 s"):
        asker(results, cache)("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", deadline=0.3)


def test_queries_at_once_do_not_disturb_each_other(results: Path, cache: Path) -> None:
    for seed in range(4):
        make_run(results, seed=seed)
    answers: list[Answer] = []
    workers = [
        threading.Thread(target=lambda: answers.append(asker(results, cache)("SELECT count(*) FROM samples")))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [answer.rows for answer in answers] == [[(72,)]] * 4


def test_a_cache_that_is_held_or_unwritable(results: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(results)
    ask = asker(results, cache)
    ask("SELECT 1")
    monkeypatch.setattr(columnar, "LOCK_SECONDS", 0.1)
    (folder,) = cache.glob("history/*")
    with FileLock(folder / "lock"), pytest.raises(CacheBusy):
        ask("SELECT 1")
    blocked = cache.parent / "file"
    blocked.write_text("")
    with pytest.raises(StorageUnwritable):
        query(Store(results), "SELECT 1", cache=blocked)


def test_runs_that_vanish_while_they_are_read(results: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(results)
    monkeypatch.setattr(columnar, "escape_glob", lambda path: str(path) + ".gone")
    with pytest.raises(RunDamaged, match="samples of 1 runs"):
        asker(results, cache)("SELECT * FROM samples")
    monkeypatch.undo()
    assert asker(results, cache)("SELECT DISTINCT run FROM samples").rows == [(run.run_id,)]


def test_export(results: Path, cache: Path, tmp_path: Path) -> None:
    runs = [make_run(results, seed=seed) for seed in range(3)]
    out = tmp_path / "o'ut"
    files = export_parquet(Store(results), out, cache=cache)
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{table}.parquet" for table in TABLES)
    with duckdb.connect() as connection:
        for path, table in zip(files, TABLES.values(), strict=True):
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
            assert {row[0]: row[1] for row in described} == table.columns
        ids = connection.execute("SELECT run FROM read_parquet(?)", [str(out / "runs.parquet")]).fetchall()
    assert ids == [(run.run_id,) for run in runs]
    again = make_run(results)
    export_parquet(Store(results), out, cache=cache)
    with duckdb.connect() as connection:
        (last,) = connection.execute("SELECT max(run) FROM read_parquet(?)", [str(files[0])]).fetchall()
    assert last == (again.run_id,)
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    with pytest.raises(StorageUnwritable):
        export_parquet(Store(results), blocked, cache=cache)


def test_columns_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/history.md").read_text()
    for table in TABLES.values():
        assert f"## {table.name}" in page
        section = page.split(f"## {table.name}\n")[1].split("\n## ")[0]
        missing = [name for name in table.columns if f"`{name}`" not in section]
        assert not missing, json.dumps({table.name: missing})
