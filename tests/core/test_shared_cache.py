"""A cache that machines share: made once, signed, verified, never half there, and no worse than none when it fails."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.cache import Cache, find_damage
from harness.core.store_errors import StoreMisuse
from tests.environment import REPOSITORY, python_path

SECRET = "0123456789abcdef" * 2
KEY = "k" * 32
# The store's library has threads, which a plain fork would lose.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.core.test_shared_cache"])


class Machine:
    """One of several machines with the same store: its own cache, its notices, and what it made itself."""

    def __init__(self, root: Path) -> None:
        self.notices: list[str] = []
        self.made: list[str] = []
        self.cache = Cache(root, self.notices.append)

    def fetch(self, key: str = KEY, text: str = "an archive", kind: str = "archives") -> str:
        def build(folder: Path) -> None:
            self.made.append(key)
            (folder / "sub").mkdir()
            (folder / "sub" / "libm_system_lib.a").write_text(text)
            (folder / "system_lib_metadata.json").write_text("{}")

        folder = self.cache.fetch(kind, key, build)
        assert find_damage(folder) is None
        return (folder / "sub" / "libm_system_lib.a").read_text()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shared"
    monkeypatch.setenv("HARNESS_CACHE_URL", folder.as_uri())
    monkeypatch.setenv("HARNESS_CACHE_KEY", SECRET)
    return folder


def entry(store: Path, key: str = KEY) -> Path:
    return store / "cache" / "1" / "archives" / f"{key}.json"


def test_a_team_makes_each_thing_once(store: Path, tmp_path: Path) -> None:
    first, second = Machine(tmp_path / "a"), Machine(tmp_path / "b")
    assert first.fetch() == second.fetch(text="would be other bytes") == "an archive"
    assert (first.made, second.made) == ([KEY], [])
    assert first.notices == second.notices == []
    assert list(store.rglob("*.json")) == [entry(store)]
    # Another kind stays on its machine.
    for machine in (first, second):
        machine.fetch(kind="runners")
    assert second.made == [KEY]


def test_what_was_made_before_is_given_too(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_CACHE_URL")
    Machine(tmp_path / "a").fetch()
    assert not store.exists()
    monkeypatch.setenv("HARNESS_CACHE_URL", store.as_uri())
    again = Machine(tmp_path / "a")
    again.fetch()
    assert again.made == []
    other = Machine(tmp_path / "b")
    other.fetch()
    assert other.made == []


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("other key", "not signed with this team's key"),
        ("unsigned", "not signed with this team's key"),
        ("another entry", "another entry's"),
        ("another entry renamed", "not signed with this team's key"),
        ("other hash", "not signed with this team's key"),
        ("no JSON", "it is not an entry"),
        ("other contents", "other contents than its name promises"),
        ("a missing file", "has no file"),
        ("endless", "is larger than"),
    ],
)
def test_what_somebody_put_there_is_not_used(store: Path, tmp_path: Path, attack: str, said: str) -> None:
    os.environ["HARNESS_CACHE_KEY"] = "another team's key, that is long enough" if attack == "other key" else SECRET
    Machine(tmp_path / "a").fetch(text="their code")
    os.environ["HARNESS_CACHE_KEY"] = SECRET
    path, key = entry(store), KEY
    facts = json.loads(path.read_text())
    blob = next(file for file in store.glob("files/*/*") if file.read_text() == "their code")
    if attack == "unsigned":
        path.write_text(json.dumps(facts | {"signature": ""}))
    elif attack.startswith("another entry"):
        key = "l" * 32
        name = {"key": key} if attack.endswith("renamed") else {}
        entry(store, key).write_text(json.dumps(facts | name))
    elif attack == "other hash":
        facts["files"]["sub/libm_system_lib.a"]["sha256"] = "0" * 64
        path.write_text(json.dumps(facts))
    elif attack == "no JSON":
        path.write_text("{")
    elif attack == "other contents":
        blob.write_text("worse code")
    elif attack == "a missing file":
        blob.unlink()
    elif attack == "endless":
        path.write_text(" " * (2**20 + 1))
    machine = Machine(tmp_path / "b")
    assert machine.fetch(key, text="our code") == "our code"
    assert machine.made == [key]
    (notice,) = machine.notices
    assert f"cache/1/archives/{key}.json of the shared cache cannot be used, and is made here" in notice
    assert said in notice
    # What was made is there for the next machine.
    after = Machine(tmp_path / "c")
    assert (after.fetch(key, text="third code"), after.made, after.notices) == ("our code", [], [])


@pytest.mark.parametrize("damage", ["other contents", "a missing file"])
def test_a_damaged_file_of_the_same_size_is_written_again(store: Path, tmp_path: Path, damage: str) -> None:
    Machine(tmp_path / "a").fetch(text="our code")
    blob = next(file for file in store.glob("files/*/*") if file.read_text() == "our code")
    if damage == "other contents":
        blob.write_text("bad code")
    else:
        blob.unlink()
    second, third = Machine(tmp_path / "b"), Machine(tmp_path / "c")
    assert [second.fetch(text="our code"), third.fetch(text="our code")] == ["our code", "our code"]
    assert (second.made, third.made) == ([KEY], [])
    assert blob.read_text() == "our code"


@pytest.mark.parametrize("name", ["../../../escaped", "/escaped", "a/../../escaped", ".hidden", "a//b", "a\\b\n"])
def test_names_of_files_stay_in_the_entry(
    store: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody signs."""
    monkeypatch.delenv("HARNESS_CACHE_KEY")
    monkeypatch.setenv("HARNESS_CACHE_UNSIGNED", "1")
    Machine(tmp_path / "a").fetch()
    facts = json.loads(entry(store).read_text())
    assert facts["signature"] == ""
    facts["files"][name] = facts["files"].pop("sub/libm_system_lib.a")
    entry(store).write_text(json.dumps(facts))
    machine = Machine(tmp_path / "b")
    machine.fetch()
    assert machine.made == [KEY]
    assert "is no name of a file" in machine.notices[0]
    assert not list(tmp_path.rglob("*escaped*"))


def test_without_a_key_nothing_is_read_unless_somebody_says_so(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_CACHE_KEY")
    with pytest.raises(StoreMisuse, match="without HARNESS_CACHE_KEY: anyone who can write there") as caught:
        Machine(tmp_path / "a").fetch()
    assert caught.value.exit_code == 2
    assert not (tmp_path / "a" / "archives" / KEY).exists()
    monkeypatch.setenv("HARNESS_CACHE_KEY", "short")
    with pytest.raises(StoreMisuse, match="has 5 characters"):
        Machine(tmp_path / "a").fetch()
    monkeypatch.delenv("HARNESS_CACHE_KEY")
    monkeypatch.setenv("HARNESS_CACHE_UNSIGNED", "1")
    Machine(tmp_path / "a").fetch()
    other = Machine(tmp_path / "b")
    other.fetch()
    assert other.made == []
    for url in ("ftp://x/y", "s3://key:secret@bucket/x", "file://host/x"):
        monkeypatch.setenv("HARNESS_CACHE_URL", url)
        with pytest.raises(StoreMisuse):
            Machine(tmp_path / "c").fetch()


def _use(store: Path) -> None:
    """Name the store in a forked process, which has the environment of before."""
    os.environ.update(HARNESS_CACHE_URL=store.as_uri(), HARNESS_CACHE_KEY=SECRET)


def _make(store: Path, root: Path, number: int, begin: object) -> None:
    _use(store)
    begin.wait()  # type: ignore[attr-defined]
    Machine(root / f"m{number}").fetch(text="x" * 300_000)


@pytest.mark.programs
def test_eight_writers_of_one_entry(store: Path, tmp_path: Path) -> None:
    """Processes with caches of their own, which begin together."""
    begin = _FORKS.Barrier(8)
    writers = [_FORKS.Process(target=_make, args=(store, tmp_path, number, begin)) for number in range(8)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    assert len(list(store.rglob("*.json"))) == 1
    reader = Machine(tmp_path / "reader")
    assert reader.fetch() == "x" * 300_000
    assert reader.made == []


def _make_slowly(store: Path, root: Path, ready: Path) -> None:
    _use(store)
    from harness.core.store import FileStore

    put = FileStore.put

    def slow(self: FileStore, path: Path, **more: bool) -> str:
        found = put(self, path, **more)
        ready.touch()
        time.sleep(600)
        return found

    FileStore.put = slow  # type: ignore[method-assign]
    Machine(root / "killed").fetch()


@pytest.mark.programs
def test_a_writer_that_is_killed_leaves_no_entry(store: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    writer = _FORKS.Process(target=_make_slowly, args=(store, tmp_path, ready))
    writer.start()
    while not ready.exists():
        assert writer.is_alive()
        time.sleep(0.01)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join(60)
    assert list(store.glob("files/*/*"))
    assert not entry(store).exists()
    other = Machine(tmp_path / "b")
    other.fetch()
    assert other.made == [KEY]
    assert other.notices == []
    assert entry(store).exists()


def test_offline_this_machine_goes_on_with_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in {**given, "ENDPOINT": f"http://127.0.0.1:{port}"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("HARNESS_CACHE_URL", "s3://team/cache")
    monkeypatch.setenv("HARNESS_CACHE_KEY", SECRET)
    machine = Machine(tmp_path / "a")
    began = time.monotonic()
    machine.fetch("k" * 32)
    machine.fetch("l" * 32)
    machine.fetch("k" * 32)
    assert time.monotonic() - began < 30
    assert machine.made == ["k" * 32, "l" * 32]
    assert len(machine.notices) == 1
    assert "the shared cache fails, and this machine's own continues alone" in machine.notices[0]


FULL = """
import os, sys
from pathlib import Path
from harness.core.store import FileStore
from harness.core.store_errors import StoreFailed
from tests.core.test_shared_cache import KEY, Machine, entry

store, root = Path(sys.argv[1]), Path(sys.argv[2])
machine = Machine(root / "a")
assert machine.fetch(text="x" * 3_000_000) == "x" * 3_000_000
assert machine.fetch("l" * 32) == "an archive"
print(*machine.notices, sep="\\n")
assert not entry(store).exists()
assert not [one for one in store.rglob("*") if one.is_file() and one.stat().st_size > 2**20], "half a file"
(root / "big").write_bytes(b"y" * 3_000_000)
try:
    FileStore(store.as_uri()).put(root / "big")
except StoreFailed as error:
    print(error)
"""


@pytest.mark.programs
def test_a_full_store(store: Path, tmp_path: Path) -> None:
    """A file system of a megabyte, in a namespace of its own."""
    store.mkdir()
    mounted = f'mount -t tmpfs -o size=1m none "{store}" && exec "$@"'
    apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    done = subprocess.run(
        [*apart, sys.executable, "-c", FULL, str(store), str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": python_path(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    warned, refused, *_ = done.stdout.splitlines()
    assert warned.startswith("the shared cache fails, and this machine's own continues alone")
    assert "No space left" in refused
    assert "failed while taking big" in refused


def test_a_store_that_is_no_folder_is_no_store(store: Path, tmp_path: Path) -> None:
    Machine(tmp_path / "a").fetch()
    # Root may write everywhere, so that the folder is replaced by a file instead.
    shutil.move(store, tmp_path / "aside")
    store.write_text("no folder")
    machine = Machine(tmp_path / "b")
    assert machine.fetch(text="made here") == "made here"
    assert len(machine.notices) == 1
