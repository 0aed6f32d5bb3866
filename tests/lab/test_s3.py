"""The lab's store on S3: a real server on loopback, which is killed in the end."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from harness.core.cache import Cache, hash_file
from harness.core.store import FileStore
from harness.core.store_errors import StoreFailed
from tests.environment import REPOSITORY
from tests.lab.conftest import PATIENCE
from tests.lab.seaweed import Server

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    built = Server(tmp_path_factory.mktemp("s3"))
    yield built
    built.kill()


@pytest.fixture(autouse=True)
def credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def test_files_travel_through_s3(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"an order")
    with large.open("wb") as stream:
        stream.truncate(70 * 2**20)  # more than one request takes
    store, other = FileStore("s3://lab/files"), FileStore("s3://lab/files")
    for path in (small, large):
        sha256 = store.put(path)
        assert sha256 == hash_file(path)
        assert other.put(path) == sha256
        other.fetch(sha256, tmp_path / "back")
        assert hash_file(tmp_path / "back") == sha256
    with pytest.raises(StoreFailed, match="has no file"):
        store.fetch("0" * 64, tmp_path / "back")


def test_eight_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runner"
    path.write_bytes(os.urandom(500_000))
    failures: list[BaseException] = []

    def put() -> None:
        try:
            FileStore("s3://lab/files").put(path)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=put) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE)
    assert failures == []
    FileStore("s3://lab/files").fetch(hash_file(path), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_a_forged_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "runner"
    path.write_bytes(b"honest on s3")
    store = FileStore("s3://lab/files")
    sha256 = store.put(path)
    obstore.put(S3Store("lab"), f"files/files/{sha256[:2]}/{sha256}", b"forged")
    with pytest.raises(StoreFailed, match="other contents"):
        store.fetch(sha256, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_machines_share_a_cache_through_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_URL", "s3://lab/team")
    monkeypatch.setenv("HARNESS_CACHE_KEY", "k" * 40)
    notices: list[str] = []
    made: list[int] = []

    def build(number: int, folder: Path) -> None:
        made.append(number)
        (folder / "libm.a").write_bytes(b"an archive" * 100_000)

    def fetch(number: int) -> bytes:
        cache = Cache(tmp_path / str(number), notices.append)
        return (cache.fetch("archives", "key", lambda folder: build(number, folder)) / "libm.a").read_bytes()

    assert fetch(1) == fetch(2) == b"an archive" * 100_000
    assert made == [1]
    store = FileStore("s3://lab/team")
    assert not store.write_once("cache/1/archives/key.json", b"another")
    obstore.put(S3Store("lab"), "team/cache/1/archives/key.json", b"{}")
    fetch(3)
    assert made == [1, 3]
    assert len(notices) == 1


def test_the_unit_of_the_store_has_options_that_its_server_knows() -> None:
    unit = (REPOSITORY / "docs/examples/harness-lab-store.service").read_text(encoding="utf-8")
    options = set(re.findall(r" -([a-z0-9.A-Z]+)", unit.partition("weed server")[2].partition("'")[0]))
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    shown = subprocess.run([weed, "help", "server"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    known = set(re.findall(r"^  -([a-z0-9.A-Z]+)", shown.stdout + shown.stderr, re.MULTILINE))
    assert len(options) > 5
    assert options <= known


def test_wrong_credentials_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    (tmp_path / "runner").write_bytes(b"x")
    with pytest.raises(StoreFailed) as caught:
        FileStore("s3://lab/files").put(tmp_path / "runner")
    assert "wrong" not in str(caught.value)


def test_a_server_that_is_killed_is_an_error(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "runner"
    path.write_bytes(b"too late")
    store = FileStore("s3://lab/files")
    server.kill()
    with pytest.raises(StoreFailed, match="failed while taking runner"):
        store.put(path)
