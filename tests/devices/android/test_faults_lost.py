"""The device, the server or the harness goes away in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import adbutils.sync
import pytest

from harness.protocol.schema import End, Header, Sample
from tests.devices.android.conftest import Scene
from tests.devices.android.runners import write_runner
from tests.devices.arrivals import at_sample, later, samples
from tests.devices.fake_runners import make_order
from tests.devices.faults import Ends, complete, incomplete

pytestmark = pytest.mark.emulator

SLOW = "header; load; pause=0.2; passes; memory; probe; end"


@pytest.mark.fault(
    what="the device is gone mid-run and stays away",
    ends=incomplete("was lost while the runner ran"),
    keeps="all that had arrived",
)
def test_gone_for_good(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), SLOW, then=at_sample(3, do=scene.virtual.kill))
    ends.check(result)
    assert samples(result.records) >= 3
    assert scene.seen == list(result.records)
    assert any("waiting up to 3 s" in line for line in scene.said)
    # What could not be cleaned up is found by the next run, and only then.
    assert len(scene.folders()) == 1
    scene.virtual.restart()
    assert scene.run(make_order()).complete
    assert any(line.startswith("removed harness-") for line in scene.said)
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is gone mid-run and comes back", ends=complete(resumed=1), keeps="all records of both processes"
)
def test_gone_and_back(scene: Scene, ends: Ends) -> None:
    def blink() -> None:
        scene.virtual.kill()
        later(scene.virtual.restart)

    result = scene.run(make_order(), SLOW, then=at_sample(3, do=blink))
    ends.check(result)
    assert samples(result.records) == 6
    found = [record for record in result.records if isinstance(record, Sample)]
    assert [record.phase.value for record in found].count("first") == 2
    assert [(record.items[0], record.repetition) for record in found] == [
        ("w0", 0), ("w1", 0), ("w0", 0), ("w1", 0), ("w0", 1), ("w1", 1)
    ]  # fmt: skip
    assert sum(isinstance(record, Header) for record in result.records) == 2
    assert scene.seen == list(result.records)
    assert scene.virtual.fixed_performance is False
    scene.assert_clean()


@pytest.mark.fault(
    what="the device comes back and denies a knob that it had taken",
    ends=complete("the knob says so", resumed=1),
    keeps="all records of both processes",
)
def test_back_with_another_mind(scene: Scene, ends: Ends) -> None:
    def blink() -> None:
        scene.virtual.kill()
        scene.virtual.set_command("cmd", "echo 'java.lang.SecurityException: not any more' >&2; exit 255")
        later(scene.virtual.restart)

    result = scene.run(make_order(), SLOW, then=at_sample(3, do=blink))
    ends.check(result)
    (knob,) = [knob for knob in result.knobs if knob.name == "fixed_performance"]
    assert knob.state == "denied"
    assert "after the device had been lost: java.lang.SecurityException: not any more" in knob.detail


@pytest.mark.parametrize("left", [0, 300, None])
@pytest.mark.fault(
    what="the device loses power mid-run, and with it the end of its result file",
    ends=complete(resumed=1),
    keeps="all records, those that only the stream had included",
)
def test_power_loss(scene: Scene, ends: Ends, left: int | None) -> None:
    def lose_power() -> None:
        scene.virtual.kill()
        (result,) = scene.tmp.glob("harness-*/result-1.jsonl")
        if left is None:
            result.unlink()
        else:
            result.write_bytes(result.read_bytes()[:left])
        later(scene.virtual.restart)

    result = scene.run(make_order(), SLOW, then=at_sample(3, do=lose_power))
    ends.check(result)
    assert samples(result.records) == 6
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is gone again after it came back",
    ends=incomplete("lost a second time", resumed=1),
    keeps="all that had arrived",
)
def test_gone_twice(scene: Scene, ends: Ends) -> None:
    def blink() -> None:
        scene.virtual.kill()
        later(scene.virtual.restart)

    result = scene.run(make_order(), SLOW, then=at_sample(2, 4, do=blink))
    ends.check(result)
    assert samples(result.records) >= 4
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.fixture
def at_pull(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """What is in the list happens, once each, after a pull was asked for and before its bytes are read."""
    events: list[Callable[[], object]] = []
    real = adbutils.sync.Sync.iter_content

    def pull(sync: Any, path: str) -> Iterator[bytes]:
        if events:
            events.pop(0)()
        return real(sync, path)  # type: ignore[no-any-return]

    monkeypatch.setattr(adbutils.sync.Sync, "iter_content", pull)
    yield events
    assert not events


@pytest.mark.fault(
    what="the device is gone during the pull and stays away",
    ends=incomplete("the result could not be pulled"),
    keeps="all that was streamed",
)
def test_gone_during_the_pull(scene: Scene, ends: Ends, at_pull: list[Callable[[], object]]) -> None:
    at_pull.append(scene.virtual.kill)
    result = scene.run(make_order())
    ends.check(result)
    assert samples(result.records) == 6
    assert isinstance(result.records[-1], End)
    scene.virtual.restart()
    scene.run(make_order())
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is gone during the pull and comes back", ends=complete("it is pulled again"), keeps="all records"
)
def test_back_for_the_pull(scene: Scene, ends: Ends, at_pull: list[Callable[[], object]]) -> None:
    at_pull.append(scene.virtual.restart)
    ends.check(scene.run(make_order()))
    scene.assert_clean()


@pytest.mark.fault(
    what="the adb server dies mid-run and stays away",
    ends=incomplete("was lost while the runner ran"),
    keeps="all that had arrived",
)
def test_the_server_dies(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), SLOW, then=at_sample(3, do=scene.adb.kill))
    ends.check(result)
    assert samples(result.records) >= 3
    scene.adb.start()
    scene.adb.connect(scene.virtual.serial)
    # The device noticed that nobody listens any more, and ended the runner by itself.
    until = time.monotonic() + 5
    while scene.processes() and time.monotonic() < until:
        time.sleep(0.05)
    assert scene.processes() == set()
    assert scene.run(make_order()).complete
    scene.assert_clean()


@pytest.mark.fault(
    what="the adb server dies mid-run and is started again",
    ends=complete(resumed=1),
    keeps="all records of both processes",
)
def test_the_server_is_back(scene: Scene, ends: Ends) -> None:
    def blink() -> None:
        scene.adb.kill()
        later(scene.adb.start)

    result = scene.run(make_order(), SLOW, then=at_sample(3, do=blink))
    ends.check(result)
    assert samples(result.records) == 6
    scene.assert_clean()


def harness(scene: Scene, runner: str, tail: str = "") -> subprocess.Popen[str]:
    """Another harness that runs the first order on the device, and prints the records' names."""
    script = (
        "import pathlib\n"
        "from harness.devices.android import AndroidDevice, Server\n"
        "from tests.devices.android.conftest import QUICK\n"
        "from tests.devices.fake_runners import make_order\n"
        f"device = AndroidDevice(Server({scene.adb.port}, starts=False), {scene.virtual.serial!r}, options=QUICK,\n"
        f"    launcher=('/system/bin/sh',), lock_folder=pathlib.Path({str(scene.folder / 'locks')!r}))\n"
        f"{tail}"
        f"device.run(pathlib.Path({runner!r}), make_order(), on_record=lambda r: print(r.record, flush=True))\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_first_sample(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line == "sample\n":
            return
    raise AssertionError(process.stderr and process.stderr.read())


@pytest.mark.fault(
    what="the harness is killed with -9 and started again",
    ends=complete("what it left on the device is removed, its settings are put back"),
    keeps="all records of the new run",
)
def test_the_harness_is_killed(scene: Scene, ends: Ends) -> None:
    runner = write_runner(scene.folder, make_order(), "header; load; trap '' HUP; pause=0.2; passes; sleep 600")
    with harness(scene, str(runner)) as other:
        until_first_sample(other)
        other.kill()
    (left,) = scene.folders()
    assert scene.virtual.setting("global", "stay_on_while_plugged_in") == "7"
    result = scene.run(make_order())
    ends.check(result)
    assert any(line.startswith(f"removed {left}") for line in scene.said)
    (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
    assert knob.detail == "was null"
    assert scene.virtual.setting("global", "stay_on_while_plugged_in") is None
    scene.assert_clean()


def test_ctrl_c_ends_the_runner_and_removes_its_folder(scene: Scene) -> None:
    runner = write_runner(scene.folder, make_order(), "header; load; trap '' HUP; pause=0.2; passes; sleep 600")
    with harness(scene, str(runner)) as other:
        until_first_sample(other)
        other.send_signal(signal.SIGINT)
        _, err = other.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert scene.virtual.setting("global", "stay_on_while_plugged_in") is None
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is closed from another thread",
    ends=incomplete("the device was closed"),
    keeps="all that had arrived",
)
def test_closed_from_another_thread(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    began = time.monotonic()
    result = scene.run(
        make_order(),
        "header; load; pause=0.1; passes; sleep 600",
        device=device,
        then=at_sample(2, do=lambda: threading.Thread(target=device.close).start()),
    )
    assert time.monotonic() - began < 20
    ends.check(result)
    assert samples(result.records) >= 2
    scene.assert_clean()
