"""``harness lab …`` and the plain commands of docs/lab.md, as a person types them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order, write_runner
from harness.core.cache import Cache
from harness.devices import opened, parse_device
from tests.cli.called import call
from tests.lab.conftest import PATIENCE, await_


@contextlib.contextmanager
def running(log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until it is ended."""
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "harness.cli", *words], stderr=output, stdout=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)


@pytest.mark.programs
def test_a_lab_of_this_machine_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [tmp_path / "scheduler.log", tmp_path / "agent.log"]
    with running(logs[0], "lab", "scheduler", "--port", "0") as scheduler:
        await_("the scheduler listens", lambda: "listens at" in logs[0].read_text())
        found = re.search(r"listens at (tcp://127\.0\.0\.1:\d+)", logs[0].read_text())
        assert found is not None
        agent_words = (
            *("lab", "agent", "--scheduler", found[1], "--store", f"file://{tmp_path}/store", "--device", "host"),
            *("--name", "desk", "--state-dir", str(tmp_path / "state")),
        )
        with running(logs[1], *agent_words) as agent:

            def listed() -> list[str]:
                done = call(capsys, "devices", "--lab", "--lab-scheduler", found[1], "--json")
                return [row["device"] for row in json.loads(done.out)["devices"]]

            await_("this machine is offered", lambda: listed() == ["lab:desk/host"])
            selection = parse_device("lab:desk", lab_scheduler=found[1])
            with opened(selection, cache=Cache(tmp_path / "cache"), notify=print) as [device]:
                assert device.run(write_runner(tmp_path, "everything()"), make_order()).complete  # type: ignore[union-attr]
            # A second scheduler finds the port taken.
            port = found[1].rpartition(":")[2]
            taken = subprocess.run(
                [sys.executable, "-m", "harness.cli", "lab", "scheduler", "--port", port],
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert taken.returncode == 3
            assert f"cannot listen at 127.0.0.1:{port}" in taken.stderr
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(PATIENCE) == 0, logs[1].read_text()
        scheduler.send_signal(signal.SIGTERM)
        assert scheduler.wait(PATIENCE) == 0, logs[0].read_text()
    assert logs[1].read_text().splitlines()[-1] == "harness: desk/host is no longer offered"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lab scheduler --listen 0.0.0.0", "without TLS everybody who reaches 0.0.0.0"),
        ("lab scheduler --dashboard 0.0.0.0:8787", "without TLS everybody who reaches 0.0.0.0"),
        ("lab scheduler --tls-ca absent", "'absent' is no file"),
        ("lab agent --scheduler tcp://127.0.0.1 --store file:///s", "is no address of a scheduler"),
        ("lab agent --scheduler tls://127.0.0.1:1 --store file:///s", "do not fit"),
        ("lab agent --scheduler tcp://127.0.0.1:1 --store ftp://s", "is no address of a store"),
        ("lab agent --scheduler tcp://127.0.0.1:1 --store file:///s --device nokia", "unknown device 'nokia'"),
        ("lab agent --scheduler tcp://127.0.0.1:1 --store file:///s --name a/b", "is no name of a host"),
        ("lab agent --scheduler tcp://127.0.0.1:1 --store file:///s --listen 0.0.0.0", "without TLS everybody"),
        ("lab agent --scheduler tcp://127.0.0.1:1", "--store"),
        ("lab release desk/a", "--scheduler"),
        ("devices --lab", "no lab is named"),
        ("devices --lab --lab-scheduler lab.example", "is no address of a scheduler"),
    ],
)
def test_what_is_typed_wrong(words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["XDG_STATE_HOME"] = str(tmp_path)
    done = call(capsys, *words.split())
    assert said in done.err
    assert done.code == 2
    assert "→" in done.err


def test_a_lab_where_nobody_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.lab import client

    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(client, "ASK_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    done = call(capsys, "devices", "--lab", "--lab-scheduler", address)
    assert done.code == 3
    assert f"no scheduler answers at {address}" in done.err
