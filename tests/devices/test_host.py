"""The host device against real processes that behave well and badly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order, write_runner
from harness.core.cache import Cache
from harness.devices import (
    HostDevice,
    UnknownDevice,
    opened,
    parse_device,
)
from harness.devices.collect import ResultReader
from harness.devices.orphans import start_of


@pytest.fixture
def device(tmp_path: Path) -> HostDevice:
    return HostDevice(lock_folder=tmp_path / "locks")


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def assert_gone(*pids: int) -> None:
    """No process of these ids runs; a killed orphan may be a zombie until init looks."""
    for pid in pids:
        for _ in range(100):
            status = Path(f"/proc/{pid}/stat")
            if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
            time.sleep(0.02)
        else:
            raise AssertionError(f"process {pid} is still running")


def test_a_result_or_a_line_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.jsonl"
    path.write_bytes(b"x" * 5000)
    by_line = ResultReader(path, make_order(), max_line_bytes=4096)
    by_line.poll()
    assert by_line.missing() == "line 1 is longer than 4096 bytes"
    by_size = ResultReader(path, make_order(), max_bytes=4096)
    by_size.poll()
    assert by_size.missing() == "the result is larger than 4096 bytes"


def test_facts_of_this_machine(device: HostDevice) -> None:
    facts = device.facts()
    assert facts["kind"] == "host"
    assert facts["cpu_model"]
    assert facts["kernel"]
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert facts["memory_bytes"] > 2**27
    assert set(device.conditions()) == {"load_1min", "cpu_mhz", "temperature_c"}


def test_the_host_is_opened_by_its_name(cache: Cache) -> None:
    with opened(parse_device("host"), cache=cache, notify=print) as devices:
        assert [device.name for device in devices] == ["host"]
        assert isinstance(devices[0], HostDevice)


@pytest.mark.parametrize("spec", ["toaster", "toaster:1", ""])
def test_an_unknown_device_is_reported_with_the_known_ones(spec: str) -> None:
    with pytest.raises(UnknownDevice, match=r"known kinds of device: .*host"):
        parse_device(spec)


def test_a_colon_wants_something_behind_it() -> None:
    with pytest.raises(UnknownDevice, match=r"nothing follows the colon of 'host:'"):
        parse_device("host:")


def test_there_is_one_host(cache: Cache) -> None:
    with pytest.raises(UnknownDevice, match="only one"), opened(parse_device("host:2"), cache=cache, notify=print):
        pass


def killed_harness(tmp_path: Path, body: str) -> int:
    """A harness that is killed with -9 while its runner measures; the runner's process."""
    runner = write_runner(tmp_path, f"print(os.getpid(), file=open({str(tmp_path / 'pid')!r}, 'w'))\n{body}", "orphan")
    script = (
        "import pathlib\n"
        "from harness.conformance.fake_runners import make_order\n"
        "from harness.devices import HostDevice\n"
        f"device = HostDevice(lock_folder=pathlib.Path({str(tmp_path / 'locks')!r}))\n"
        f"device.run(pathlib.Path({str(runner)!r}), make_order(), pathlib.Path({str(tmp_path / 'work')!r}),\n"
        "           on_record=lambda record: print(record.record, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        assert "sample\n" in iter(harness.stdout.readline, "")
        harness.kill()
    return int((tmp_path / "pid").read_text())


LONELY = "header(); load(); sample(order['items'][0], 'first', 0); time.sleep(600)"


def test_a_runner_ends_with_its_harness(tmp_path: Path) -> None:
    """What ``device_runner/src/watch.rs`` does, in Python: only the end of its standard input ends it."""
    watch = """
import threading
assert os.environ["DEVICE_RUNNER_ENDS_WITH_STDIN"] == "1"
threading.Thread(target=lambda: (sys.stdin.read(), os.kill(os.getpid(), signal.SIGKILL)), daemon=True).start()
"""
    assert_gone(killed_harness(tmp_path, watch + LONELY))


def test_a_runner_that_was_left_is_ended_before_anything_is_measured(device: HostDevice, tmp_path: Path) -> None:
    pid = killed_harness(tmp_path, LONELY)
    assert start_of(pid) is not None
    (left,) = (tmp_path / "work").iterdir()
    notices: list[str] = []
    with device.reserve(notify=notices.append):
        assert notices == [f"ending process {pid}, a runner that was left by a run that was killed"]
        assert_gone(pid)
        assert not left.exists()
    with device.reserve(notify=notices.append):
        assert len(notices) == 1


def test_a_stranger_with_the_number_of_a_runner_is_left_alone(device: HostDevice, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as stranger:
        note = device._lock.note_path
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f'{{"pid": {stranger.pid}, "started": "7", "folder": "{tmp_path}"}}')
        notices: list[str] = []
        with device.reserve(notify=notices.append):
            assert notices == []
        assert stranger.poll() is None
        assert tmp_path.exists()
        assert not note.exists()
        stranger.kill()


@pytest.mark.parametrize("text", ["", "{", "null", '{"pid": "1"}', '{"pid": -1, "started": "1", "folder": ""}'])
def test_a_note_that_is_none_ends_nothing(device: HostDevice, text: str) -> None:
    note = device._lock.note_path
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(text)
    with device.reserve():
        pass


def test_a_run_that_ended_leaves_no_note(device: HostDevice, tmp_path: Path) -> None:
    assert device.run(write_runner(tmp_path, "everything()"), make_order(), tmp_path / "work").complete
    assert not device._lock.note_path.exists()
