"""The content-addressed cache: damage is noticed, a killed or failing build leaves nothing, two builders agree."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.cache import Cache, DiskFull, content_key, find_damage, hash_sources


def build_hello(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/hello.txt").write_text("hello")


def test_an_entry_is_made_once(cache: Cache) -> None:
    calls: list[Path] = []

    def build(folder: Path) -> None:
        calls.append(folder)
        build_hello(folder)

    first = cache.fetch("things", "key", build)
    assert cache.fetch("things", "key", build) == first
    assert len(calls) == 1
    assert (first / "sub/hello.txt").read_text() == "hello"


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "manifest"])
def test_damage_is_noticed_reported_and_repaired(tmp_path: Path, damage: str) -> None:
    notices: list[str] = []
    cache = Cache(tmp_path, notices.append)
    folder = cache.fetch("things", "key", build_hello)
    victim = folder / "sub/hello.txt"
    if damage == "truncated":
        victim.write_text("hel")
    elif damage == "changed":
        victim.write_text("hallo")
    elif damage == "missing":
        victim.unlink()
    else:
        (folder / "manifest.json").write_text('{"sub/hello.txt": ')
    assert cache.fetch("things", "key", build_hello) == folder
    assert victim.read_text() == "hello"
    assert len(notices) == 1
    assert "damaged" in notices[0]


def test_a_failing_build_leaves_nothing(cache: Cache) -> None:
    def build(folder: Path) -> None:
        build_hello(folder)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cache.fetch("things", "key", build)
    assert not [path for path in (cache.root / "things").glob("key*") if path.is_dir()]
    assert (cache.fetch("things", "key", build_hello) / "sub/hello.txt").exists()


def test_a_killed_build_is_no_entry(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom harness.core.cache import Cache\n"
        "def build(folder):\n    (folder / 'half').write_text('x')\n"
        "    print('building', flush=True)\n    time.sleep(60)\n"
        f"Cache(Path({str(tmp_path)!r})).fetch('things', 'key', build)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"building\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "things/key").exists()
    folder = Cache(tmp_path).fetch("things", "key", build_hello)
    assert find_damage(folder) is None
    assert not (folder / "half").exists()


def _fetch_slowly(root: str, counter: str) -> None:
    def build(folder: Path) -> None:
        with Path(counter).open("a") as stream:
            stream.write("x")
        time.sleep(0.5)
        build_hello(folder)

    Cache(Path(root)).fetch("things", "key", build)


def test_two_processes_build_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fetch_slowly, args=(str(tmp_path / "cache"), str(counter))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert counter.read_text() == "x"


def test_a_full_disk_is_reported_and_leaves_nothing(cache: Cache) -> None:
    def build(folder: Path) -> None:
        # The kernel's own ENOSPC.
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)

    with pytest.raises(DiskFull, match="no space left"):
        cache.fetch("things", "key", build)
    assert not (cache.root / "things/key").exists()


def test_keys_depend_on_values_not_on_order() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_source_hashes_follow_contents_and_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("a")
    before = hash_sources([one], tmp_path)
    one.write_text("b")
    assert hash_sources([one], tmp_path) != before
    one.rename(two)
    two.write_text("a")
    assert hash_sources([two], tmp_path) != before


def test_clear_removes_everything(cache: Cache) -> None:
    cache.fetch("things", "key", build_hello)
    assert [(e.kind, e.key) for e in cache.entries()] == [("things", "key")]
    assert cache.clear() > 0
    assert cache.entries() == []
