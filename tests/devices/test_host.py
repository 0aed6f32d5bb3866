"""The host device against real processes that behave well and badly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.devices import (
    CommandTimeout,
    DeviceBusy,
    HostDevice,
    IncompleteResult,
    RunnerUnusable,
    UnknownDevice,
    opened,
    parse_device,
)
from harness.devices.base import AnyRecord
from harness.devices.collect import ResultReader
from harness.devices.orphans import start_of
from harness.protocol.schema import End, Sample
from tests.devices.fake_runners import ARCHIVE, make_order, write_runner


@pytest.fixture
def device(tmp_path: Path) -> HostDevice:
    return HostDevice(lock_folder=tmp_path / "locks")


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def samples(records: tuple[AnyRecord, ...]) -> int:
    return sum(isinstance(record, Sample) for record in records)


def test_a_good_run_is_complete_and_leaves_nothing_behind(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    seen: list[AnyRecord] = []
    result = device.run(write_runner(tmp_path, "everything()"), make_order(), workdir, on_record=seen.append)
    assert result.complete
    assert result.reason is None
    assert result.exit_status == 0
    assert samples(result.records) == 6
    assert seen == list(result.records)
    assert isinstance(seen[-1], End)
    assert result.require_complete() is result
    assert list(workdir.iterdir()) == []


def test_records_arrive_while_the_runner_still_runs(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    at: list[float] = []
    body = "header(); load(); time.sleep(0.6); passes(); probe(); end()"
    device.run(write_runner(tmp_path, body), make_order(), workdir, on_record=lambda _: at.append(time.monotonic()))
    assert at[-1] - at[0] > 0.4


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT"])
def test_a_crash_keeps_the_complete_records_and_names_the_signal(
    device: HostDevice, tmp_path: Path, workdir: Path, name: str
) -> None:
    body = (
        "header(); load(); sample(order['items'][0], 'first', 0); print('about to fall', file=sys.stderr, flush=True)\n"
    )
    result = device.run(write_runner(tmp_path, body + f"os.kill(os.getpid(), signal.{name})"), make_order(), workdir)
    assert not result.complete
    assert result.reason is not None
    assert f"killed by {name}" in result.reason
    assert "about to fall" in result.reason
    assert samples(result.records) == 1
    assert len(result.records) == 5
    assert list(workdir.iterdir()) == []
    with pytest.raises(IncompleteResult, match=name):
        result.require_complete()


def test_a_hang_is_killed_with_its_children_at_the_deadline(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    pids = tmp_path / "pids"
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
header(); load(); sample(order["items"][0], "first", 0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""
    began = time.monotonic()
    result = device.run(write_runner(tmp_path, body), make_order(), workdir, deadline=1.5)
    assert time.monotonic() - began < 10
    assert not result.complete
    assert result.reason is not None
    assert "deadline of 1.5 s" in result.reason
    assert samples(result.records) == 1
    assert_gone(*(int(pid) for pid in pids.read_text().split()))


def test_children_left_by_a_runner_that_ended_are_killed(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    pids = tmp_path / "pids"
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pids)!r}, "w").write(str(child.pid))
everything()
"""
    assert device.run(write_runner(tmp_path, body), make_order(), workdir).complete
    assert_gone(int(pids.read_text()))


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


BAD_RESULTS = {
    "torn last line": (
        'header(); load(); passes(); result.write(\'{"record": "mem\'); result.flush()',
        6,
        "torn line of 15 bytes",
    ),
    "no end": ("header(); load(); passes()", 6, "no end record"),
    "nothing at all": ("pass", 0, "no end record after 0 records"),
    "garbage in the middle": ("header(); load(); put(record='sample'); passes(); end()", 0, "line 5 is not a record"),
    "not json": ("header(); result.write('hello\\n'); result.flush()", 0, "line 2 is not a record"),
    "not utf-8": (
        "header(); result.flush(); result.buffer.write(b'\\xff\\xfe\\n'); result.flush()",
        0,
        "line 2 is not a record",
    ),
    "wrong order": ("header(order_id='order-0')", 0, "is of order 'order-0'"),
    "wrong end": (
        "header(); load(); passes(); probe(); end(order_id='order-0')",
        6,
        "end record is of order 'order-0'",
    ),
    "other archive": ("header(archive_sha256='cd' * 32)", 0, "the runner holds archive cdcdcdcdcdcd"),
    "slowed unasked": ("header(slowdown_percent=5.0)", 0, "slows itself down by 5 %, which was not asked for"),
    "unknown item": ("header(); sample({'id': 'w9', 'label': 'x'}, 'first', 0)", 0, "item 'w9' is not of workload"),
    "after the end": ("header(); load(); passes(); probe(); end(); load()", 6, "after the end record"),
    "too few samples": (
        "header(); load(); sample(order['items'][0], 'first', 0); probe(); end()",
        1,
        "item 'w0' has 1 samples of 3",
    ),
    "wrong count": ("header(); load(); passes(); probe(); end(samples=7)", 6, "counts 7 samples, 6 arrived"),
    "no probes": ("header(); load(); passes(); end()", 6, "0 probes instead of one"),
    "a token too large": (
        "header(); put(record='probe', workload='g2p', items=['w0'], outputs=[{'token_ids': [384], 'text': ''}])",
        0,
        "vocab",
    ),
}


def test_a_runner_is_slowed_down_by_order_only(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    assert "slowdown_percent" not in make_order().model_dump_json(), "kept runners refuse a field they do not know"
    order = make_order().model_copy(update={"slowdown_percent": 5.0})
    told = "header(slowdown_percent=order['slowdown_percent']); load(); passes(); probe(); end()"
    assert device.run(write_runner(tmp_path, told), order, workdir).complete
    silent = device.run(write_runner(tmp_path, "everything()"), order, workdir)
    assert silent.reason is not None
    assert "slows itself down by 0 %" in silent.reason


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_a_bad_result_is_incomplete_with_its_reason(
    device: HostDevice, tmp_path: Path, workdir: Path, case: str
) -> None:
    body, kept, reason = BAD_RESULTS[case]
    result = device.run(write_runner(tmp_path, body), make_order(), workdir)
    assert not result.complete
    assert result.reason is not None
    assert reason in result.reason
    assert samples(result.records) == kept


def test_the_runners_own_error_is_told(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    error = {"kind": "model", "message": "no function g2p_encoder_", "item": None}
    body = f"header(); end('error', error={error!r}); sys.exit(1)"
    result = device.run(write_runner(tmp_path, body), make_order(), workdir)
    assert not result.complete
    assert result.failure is not None
    assert result.failure.kind == "model"
    assert result.reason == "the runner reported a model error: no function g2p_encoder_"


def test_a_failing_exit_status_is_not_believed_over(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    result = device.run(write_runner(tmp_path, "everything(); sys.exit(7)"), make_order(), workdir)
    assert not result.complete
    assert result.reason == "the runner exited with status 7"


def test_twenty_megabytes_of_output_do_no_harm(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    body = "for _ in range(20): sys.stdout.write('x' * 2**20); sys.stderr.write('y' * 2**20)\neverything()"
    assert device.run(write_runner(tmp_path, body), make_order(), workdir).complete


def test_endless_output_is_stopped(tmp_path: Path, workdir: Path) -> None:
    device = HostDevice(lock_folder=tmp_path / "locks", max_log_bytes=2**20)
    result = device.run(write_runner(tmp_path, "while True: sys.stdout.write('x' * 65536)"), make_order(), workdir)
    assert not result.complete
    assert result.reason is not None
    assert "more than 1048576 bytes" in result.reason


def test_a_result_or_a_line_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.jsonl"
    path.write_bytes(b"x" * 5000)
    by_line = ResultReader(path, make_order(), max_line_bytes=4096)
    by_line.poll()
    assert by_line.missing() == "line 1 is longer than 4096 bytes"
    by_size = ResultReader(path, make_order(), max_bytes=4096)
    by_size.poll()
    assert by_size.missing() == "the result is larger than 4096 bytes"


def test_a_runner_that_cannot_start(device: HostDevice, tmp_path: Path, workdir: Path) -> None:
    with pytest.raises(RunnerUnusable, match="No such file"):
        device.run(tmp_path / "absent", make_order(), workdir)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF nothing of ours")
    foreign.chmod(0o755)
    with pytest.raises(RunnerUnusable, match="Exec format error"):
        device.run(foreign, make_order(), workdir)
    assert list(workdir.iterdir()) == []


def test_describe(device: HostDevice, tmp_path: Path) -> None:
    assert device.describe(write_runner(tmp_path, "")).archive_sha256 == ARCHIVE
    silent = write_runner(tmp_path, "", "silent")
    silent.write_text(f"#!{sys.executable}\nprint('hello')\n")
    with pytest.raises(RunnerUnusable, match="did not print a description"):
        device.describe(silent)
    silent.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    with pytest.raises(CommandTimeout):
        device.describe(silent, deadline=0.5)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    script = (
        "import sys, pathlib, time\nfrom harness.devices import HostDevice\n"
        f"with HostDevice(lock_folder=pathlib.Path({str(locks)!r})).reserve():\n"
        "    print('held', flush=True); time.sleep(float(sys.argv[1]))\n"
    )
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", script, "60"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        device = HostDevice(lock_folder=locks)
        with (
            pytest.raises(DeviceBusy, match=f"in use by process {other.pid}"),
            device.reserve(wait_seconds=0.5, notify=said.append),
        ):
            pass
        assert len(said) == 1
        assert "waiting up to" in said[0]
        other.kill()  # a killed run releases the device
    with device.reserve(wait_seconds=5), device.reserve(wait_seconds=0):
        pass


def test_ctrl_c_ends_the_runner_and_removes_its_folder(tmp_path: Path, workdir: Path) -> None:
    pids = tmp_path / "pids"
    runner = write_runner(
        tmp_path, f"open({str(pids)!r}, 'w').write(str(os.getpid())); header(); load(); time.sleep(600)"
    )
    script = (
        "import pathlib\nfrom harness.devices import HostDevice\nfrom tests.devices.fake_runners import make_order\n"
        f"HostDevice(lock_folder=pathlib.Path({str(tmp_path / 'locks')!r}))"
        f".run(pathlib.Path({str(runner)!r}), make_order(), pathlib.Path({str(workdir)!r}),"
        " on_record=lambda r: print(r.record, flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "header\n"
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert list(workdir.iterdir()) == []
    assert_gone(int(pids.read_text()))


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
def test_an_unknown_device_is_told_with_the_known_ones(spec: str) -> None:
    with pytest.raises(UnknownDevice, match=r"known kinds of device: .*host"):
        parse_device(spec)


def test_a_colon_wants_something_behind_it() -> None:
    with pytest.raises(UnknownDevice, match=r"nothing stands behind the colon of 'host:'"):
        parse_device("host:")


def test_there_is_one_host(cache: Cache) -> None:
    with pytest.raises(UnknownDevice, match="only one"), opened(parse_device("host:2"), cache=cache, notify=print):
        pass


def killed_harness(tmp_path: Path, body: str) -> int:
    """A harness that is killed with -9 while its runner measures; the runner's process."""
    runner = write_runner(tmp_path, f"print(os.getpid(), file=open({str(tmp_path / 'pid')!r}, 'w'))\n{body}", "orphan")
    script = (
        "import pathlib\nfrom harness.devices import HostDevice\nfrom tests.devices.fake_runners import make_order\n"
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
    """What ``device_runner/src/watch.rs`` does, in Python: nothing but the end of its standard input tells it."""
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
    said: list[str] = []
    with device.reserve(notify=said.append):
        assert said == [f"ending process {pid}, a runner that was left by a run that was killed"]
        assert_gone(pid)
        assert not left.exists()
    with device.reserve(notify=said.append):
        assert len(said) == 1


def test_a_stranger_with_the_number_of_a_runner_is_left_alone(device: HostDevice, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as stranger:
        note = device._lock.note_path
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f'{{"pid": {stranger.pid}, "started": "7", "folder": "{tmp_path}"}}')
        said: list[str] = []
        with device.reserve(notify=said.append):
            assert said == []
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
