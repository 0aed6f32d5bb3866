"""The lab's store on S3: a real server on loopback, which is killed in the end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sysconfig
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from harness.core.cache import Cache, hash_file
from harness.core.store import FileStore
from harness.core.store_errors import StoreFailed
from tests.lab.conftest import PATIENCE, await_

KEY, SECRET = "lab", "not-a-secret"
BESIDE = 10_000
"""The server's own protocol is this many ports above each of its ports."""


class Server:
    """SeaweedFS with one bucket, listening on loopback alone."""

    def __init__(self, folder: Path) -> None:
        self.port, *others = free_ports(4)
        config = folder / "s3.json"
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        config.write_text(json.dumps({"identities": [{"name": "t", "credentials": credentials, "actions": ["Admin"]}]}))
        (folder / "data").mkdir()
        ports = dict(zip(("master.port", "volume.port", "filer.port"), others, strict=True))
        # It would report statistics to its makers, and serve two more protocols.
        ports |= {"s3.port": self.port, "s3.port.iceberg": 0, "s3.port.lance": 0}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(str(Path(sysconfig.get_path("scripts")) / "weed"), "server", "-s3", f"-s3.config={config}"),
                    *(f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
                    *(f"-{name}={port}" for name, port in ports.items()),
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        await_("the S3 server answers", self._answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in range(21_000 + os.getpid() % 20_000, 45_000):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + BESIDE))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    built = Server(tmp_path_factory.mktemp("s3"))
    yield built
    built.kill()


@pytest.fixture(autouse=True)
def credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "ENDPOINT": server.url, "REGION": "us-east-1"}
    for name, value in {**given, "ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


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
