"""``harness runs rm`` and ``harness cache prune``: what is asked for goes, everything else stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.cli.units import parse_age, parse_size
from harness.core.cache import Cache
from harness.results import Run, Store
from harness.results.baselines import Baselines
from harness.results.removal import REMOVED, RunRemoval, older_than
from tests.cli.called import Called, call
from tests.environment import python_path
from tests.results.kept import cached_run, noisy
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "results"


def ids(results: Path) -> list[str]:
    return [run.run_id for run in Store(results).runs()]


def aged(run: Run, days: int) -> Run:
    """The same run, begun so many days ago."""
    began = datetime.now(timezone.utc) - timedelta(days=days)
    folder = run.folder.with_name(f"{began:%Y%m%d-%H%M%S}-000-{run.run_id[-4:]}")
    manifest = json.loads((run.folder / "manifest.json").read_text()) | {"run_id": folder.name}
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    run.folder.rename(folder)
    return Run(folder)


def rm(capsys: pytest.CaptureFixture[str], *arguments: str) -> Called:
    return call(capsys, "runs", "rm", *arguments)


def test_named_old_and_surplus_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, older = aged(make_run(results), 40), aged(make_run(results), 90)
    new, newest = make_run(results), make_run(results)
    dry = rm(capsys, "--older-than", "30d", "--dry-run")
    assert (dry.code, dry.out.split()) == (0, [older.run_id, old.run_id])
    assert len(ids(results)) == 4
    assert rm(capsys, "--older-than", "12w", "--yes").out.split() == [older.run_id]
    assert rm(capsys, "--keep", "2", "--yes").out.split() == [old.run_id]
    assert rm(capsys, "--keep", "5", "--yes").out == ""
    named = rm(capsys, "latest", newest.run_id, "latest", "--yes", "--json")
    assert json.loads(named.out)["removed"][0]["name"] == newest.run_id
    assert json.loads(named.out)["freed_bytes"] > 1000
    assert ids(results) == [new.run_id]
    assert rm(capsys, "--keep", "0", "--yes").code == 0
    assert ids(results) == []


def test_nobody_is_there_to_be_asked(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(results)
    done = rm(capsys, "latest")
    assert (done.code, done.out) == (2, "")
    assert "--yes" in done.err
    assert len(ids(results)) == 1


@pytest.mark.programs
@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_person_is_asked(results: Path, answer: str, left: int) -> None:
    run = make_run(results)
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "runs", "rm", "latest"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=results.parent,
        env=os.environ | {"PYTHONPATH": python_path(REPOSITORY)},
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode() or b"\x04")
        out, err = process.communicate(timeout=60)
        os.close(ours)
    assert run.run_id in err
    assert len(ids(results)) == left
    assert process.returncode == (0 if left == 0 else 130)
    assert out == ("" if left else f"{run.run_id}\n")


def test_what_a_baseline_or_a_nightly_run_refers_to_stays(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache(results.parent / "cache")
    kept = cached_run(results, cache, body=noisy(1e6))
    Baselines(results).set(kept, "main", cache=cache)
    nightly = call(capsys, "nightly", "--baseline", "main", "--calibrate", "1", "--words", "1", "--cooldown", "0")
    assert nightly.code == 0, nightly.err
    judged, free = make_run(results), make_run(results)
    (plan,) = results.glob("nightly/*/plan.json")
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"run": judged.run_id}))
    done = rm(capsys, "--keep", "0", "--yes")
    assert (done.code, done.out) == (0, f"{free.run_id}\n")
    assert f"{kept.run_id} stays: baseline main was made from it" in done.err
    assert f"{judged.run_id} stays: nightly run" in done.err
    # What something that cannot be read refers to is unknown, so all of them stay.
    extra = make_run(results)
    plan.write_text("{")
    damaged = rm(capsys, extra.run_id, "--yes")
    assert (damaged.code, damaged.out) == (0, "")
    assert "cannot be read" in damaged.err
    assert rm(capsys, "--keep", "0", "--yes", "--force").code == 0
    assert ids(results) == []
    assert Baselines(results).get("main").name == "main"


def test_a_run_that_may_still_go_on_stays(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(results).create() as writer:
        assert "has not ended" in rm(capsys, "latest", "--yes").err
        assert ids(results) == [writer.run_id]
    killed = make_run(results, ended=False)
    hours_ago = time.time() - 7200
    for path in killed.folder.iterdir():
        os.utime(path, (hours_ago, hours_ago))
    assert rm(capsys, killed.run_id, "--yes").out == f"{killed.run_id}\n"


def test_links_are_removed_and_never_followed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = results.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x" * 10_000)
    run = make_run(results)
    (run.folder / "link").symlink_to(outside)
    (run.folder / "file").symlink_to(outside / "precious")
    link = results / "20200101-000000-000-aaaa"
    link.symlink_to(outside)
    done = rm(capsys, "--keep", "0", "--yes", "--json")
    assert done.code == 0, done.err
    assert ids(results) == []
    assert (outside / "precious").read_text() == "x" * 10_000
    assert json.loads(done.out)["removed"][0] == {"name": link.name, "bytes": 0}


def test_an_interrupted_removal_is_finished_by_the_next(results: Path) -> None:
    """Killed between the rename and the removal: the run is gone, its bytes are freed the next time."""
    run, other = make_run(results), make_run(results)
    script = (
        "import os, shutil, signal\nfrom pathlib import Path\nfrom harness.results import Store\n"
        "from harness.results.removal import RunRemoval\n"
        "shutil.rmtree = lambda folder: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"root = Path({str(results)!r})\nRunRemoval(root, Store(root).runs()[:1]).carry_out()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": python_path(REPOSITORY)},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert ids(results) == [other.run_id]
    assert [path.name for path in results.glob(f"{REMOVED}*")] == [f"{REMOVED}{run.run_id}"]
    RunRemoval(results, []).carry_out()
    assert not list(results.glob(f"{REMOVED}*"))
    assert ids(results) == [other.run_id]


def test_age_is_that_of_the_id(results: Path) -> None:
    run = aged(make_run(results), 10)
    assert older_than([run], timedelta(days=9)) == [run]
    assert older_than([run], timedelta(days=11)) == []
    assert older_than([run], timedelta(days=999_999)) == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("45m", 2700), ("2w", 1_209_600), ("0.5d", 43_200)]
)
def test_ages(text: str, seconds: int) -> None:
    assert parse_age(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("text", "count"), [("5G", 5 << 30), ("500MB", 500 << 20), ("1.5KiB", 1536), ("0", 0)])
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


def fill(cache: Cache, name: str, size: int, days: int) -> Path:
    """An entry of that size, last used so many days ago, by a process that has ended."""

    def build(folder: Path) -> None:
        (folder / "data").write_bytes(bytes(size))

    folder = Cache(cache.root).fetch("things", name, build)
    used = time.time() - 86_400 * days
    os.utime(folder / "manifest.json", (used, used))
    return folder


def test_prune_by_age_and_by_size(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache(results.parent / "cache")
    old, middle, new = (fill(cache, name, 100_000, days) for name, days in (("a", 50), ("b", 20), ("c", 1)))
    dry = call(capsys, "cache", "prune", "--older-than", "30d", "--dry-run")
    assert (dry.code, dry.out, old.exists()) == (0, "things/a\n", True)
    assert call(capsys, "cache", "prune", "--older-than", "30d").out == "things/a\n"
    assert (old.exists(), middle.exists()) == (False, True)
    pruned = json.loads(call(capsys, "cache", "prune", "--max-size", "150K", "--json").out)
    assert [row["name"] for row in pruned["removed"]] == ["things/b"]
    assert pruned["freed_bytes"] > 100_000
    assert new.exists()
    assert call(capsys, "cache", "prune", "--max-size", "1G").out == ""


def test_using_an_entry_makes_it_young(results: Path) -> None:
    cache = Cache(results.parent / "cache")
    fill(cache, "a", 10, 50)
    assert [entry.key for entry in cache.prunable(older_than=timedelta(days=30))[0]] == ["a"]
    Cache(cache.root).fetch("things", "a", lambda folder: pytest.fail("it is there"))
    assert cache.prunable(older_than=timedelta(days=30)) == ([], [])


def test_prune_leaves_what_a_process_works_with(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache(results.parent / "cache")
    used, idle = fill(cache, "used", 10, 50), fill(cache, "idle", 10, 50)
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom harness.core.cache import Cache\n"
        f"cache = Cache(Path({str(cache.root)!r}))\ncache.fetch('things', 'used', lambda folder: None)\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": python_path(REPOSITORY)},
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "ready\n"
        done = call(capsys, "cache", "prune", "--max-size", "0")
        assert (done.code, done.out) == (0, "things/idle\n")
        assert "things/used stays: a process works with it" in done.err
        assert (used.is_dir(), idle.exists()) == (True, False)
        shown = json.loads(call(capsys, "cache", "show", "--json").out)
        assert [(row["key"], row["in_use"]) for row in shown["entries"]] == [("used", True)]
        session.send_signal(signal.SIGKILL)
        session.wait(60)
    # The system has released the lock of the killed process.
    assert call(capsys, "cache", "prune", "--max-size", "0").out == "things/used\n"
    assert not used.exists()


def test_prune_leaves_what_is_being_made_and_removes_what_was_given_up(results: Path) -> None:
    cache = Cache(results.parent / "cache")
    left = cache.root / "things/dead.partial"
    left.mkdir(parents=True)
    (left / "half").write_bytes(bytes(1000))

    def build(folder: Path) -> None:
        (folder / "half").write_bytes(bytes(10))
        assert cache.remove_half_made() == 1000
        assert (folder / "half").exists()

    assert (cache.fetch("things", "key", build) / "half").exists()
    assert not left.exists()


def test_a_cache_lets_go_of_its_entries(results: Path) -> None:
    cache = Cache(results.parent / "cache")
    fill(cache, "a", 10, 0)
    (entry,) = cache.entries()
    assert entry.in_use is False
    cache.fetch("things", "a", lambda folder: pytest.fail("it is there"))
    (entry,) = cache.entries()
    assert (entry.in_use, cache.remove(entry)) == (True, False)
    del cache
    other = Cache(results.parent / "cache")
    assert other.remove(other.entries()[0]) is True
    assert other.entries() == []
