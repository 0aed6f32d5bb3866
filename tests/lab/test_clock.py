"""A host whose clock is an hour off (``clock.c``): leases, heartbeats and results do not mind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order, write_runner
from tests.lab.conftest import PATIENCE, Town, await_
from tests.lab.test_faults import CLIENT
from tests.lab.wrong_clock import compile_clock, off_by

pytestmark = pytest.mark.programs

HOUR = 3600.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_clock(tmp_path_factory.mktemp("clock"))


@contextmanager
def agent(village: Town, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """An agent of this machine with another clock."""
    words = ["lab", "agent", "--scheduler", village.address, "--store", village.store, "--device", "host"]
    words += ["--name", "late", "--state-dir", str(village.folder / "state")]
    with (village.folder / "late.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *words], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.mark.thorough(keep=["3600.0"])
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_an_agents_clock(village: Town, tmp_path: Path, library: Path, seconds: float) -> None:
    seen = tmp_path / "clock"
    body = f"import pathlib, time; pathlib.Path({str(seen)!r}).write_text(str(time.time())); everything()"
    runner = write_runner(tmp_path, body)
    village.scheduler()
    with agent(village, off_by(library, seconds)):
        village.await_state("late/host", "free")
        with village.open("late") as device:
            result = device.run(runner, make_order())
            assert device.conditions().get("unavailable") is None
        assert result.complete, result.reason
        assert result.wall_seconds < 60
        off = float(seen.read_text()) - time.time()
        assert abs(off - seconds) < 120, "the clock was not off"
        card = village.await_state("late/host", "free")
        assert card.work is None
    village.await_gone("late/host")


def test_a_clients_clock(village: Town, tmp_path: Path, library: Path) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    ready = tmp_path / "ready"
    seen = tmp_path / "clock"
    program = CLIENT + f"\nimport time; Path({str(seen)!r}).write_text(str(time.time()))"
    runner = write_runner(tmp_path, "everything()")
    command = [sys.executable, "-c", program, village.address, str(runner), str(ready), str(tmp_path / "cache")]
    done = subprocess.run(
        command, env=off_by(library, HOUR), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ready.exists()
    assert float(seen.read_text()) - time.time() > HOUR - 120
    village.await_state("east/e1", "free")
    await_("nobody holds it", lambda: village.cards()["east/e1"].holder == "")
