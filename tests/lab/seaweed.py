"""An S3 server on loopback, SeaweedFS, which a test may kill and start again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.lab.conftest import PATIENCE, await_

KEY, SECRET = "lab", "not-a-secret"
BESIDE = 10_000
"""The server's own protocol is this many ports above each of its ports."""


class Server:
    """SeaweedFS, listening on loopback alone; ``options`` are more of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.buckets: list[str] = []
        self.port, *self._others = free_ports(4)
        folder.mkdir(exist_ok=True)
        config = folder / "s3.json"
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        config.write_text(json.dumps({"identities": [{"name": "t", "credentials": credentials, "actions": ["Admin"]}]}))
        (folder / "data").mkdir()
        self.start(*options)

    def start(self, *options: str) -> None:
        """Start it, with what it stored before."""
        folder = self.folder
        ports = dict(zip(("master.port", "volume.port", "filer.port"), self._others, strict=True))
        # It would report statistics to its makers, and serve two more protocols.
        ports |= {"s3.port": self.port, "s3.port.iceberg": 0, "s3.port.lance": 0}
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        str(Path(sysconfig.get_path("scripts")) / "weed"),
                        "server",
                        "-s3",
                        f"-s3.config={folder / 's3.json'}",
                    ),
                    *(f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
                    "-master.electionTimeout=1s",
                    # By default it takes no file where less than a hundredth of the disk is free.
                    "-volume.minFreeSpace=16MiB",
                    *(f"-{name}={port}" for name, port in ports.items()),
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        await_("the S3 server answers", self._answers)
        for name in self.buckets:
            self._await_bucket(name)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a client needs."""
        given = {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "ENDPOINT": self.url, "REGION": "us-east-1"}
        return {f"AWS_{name}": value for name, value in {**given, "ALLOW_HTTP": "true"}.items()}

    def make_bucket(self, name: str) -> None:
        """Make a bucket, by putting a file into it."""
        self.buckets.append(name)
        self._await_bucket(name)

    def _await_bucket(self, name: str) -> None:
        """Wait until a bucket takes files: the server answers before its parts have found each other."""
        store = S3Store(
            name,
            access_key_id=KEY,
            secret_access_key=SECRET,
            endpoint=self.url,
            region="us-east-1",
            client_options={"allow_http": True},
        )

        def takes() -> bool:
            try:
                return bool(obstore.put(store, "made", b"made"))
            except BaseError:
                return False

        try:
            await_(f"the bucket {name} takes files", takes)
        except AssertionError as error:
            log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"{error}; the server's log ends: {log[-3000:]}") from error

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


_RESERVED: list[socket.socket] = []
"""Sockets whose names reserve ports for this process while it lives: a free port may be another one's next."""


def _reserve(port: int) -> bool:
    """Reserve a port against other processes of these tests."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0harness-tests-port-{port}")
    except OSError:
        name.close()
        return False
    _RESERVED.append(name)
    return True


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in range(21_000 + os.getpid() % 20_000, 45_000):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + BESIDE))
            except OSError:
                continue
        if not (_reserve(port) and _reserve(port + BESIDE)):
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no port is free")
