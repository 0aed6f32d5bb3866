"""The phone or the harness goes away in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.devices.ios import files
from harness.devices.ios.job import Job
from harness.protocol.schema import End, Header, Sample
from tests.devices.arrivals import at_sample, later, samples
from tests.devices.fake_runners import make_order
from tests.devices.faults import Ends, complete, incomplete
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import Scene

pytestmark = pytest.mark.emulator

STUCK = "header(); load(); stuck_at = {}; passes(); memory(); probe(); end()"
"""Comes to its end only if it begins behind these samples: when it is interrupted does not depend on the clock."""
AT_3 = STUCK.format("(3,)")


def blink(scene: Scene, seconds: float = 0.3) -> Callable[[], None]:
    def do() -> None:
        scene.virtual.unplug()
        later(scene.virtual.plug, seconds)

    return do


@pytest.mark.fault(
    what="the phone is unplugged mid-run and stays away",
    ends=incomplete("was lost while the app ran"),
    keeps="all that had arrived",
)
def test_gone_for_good(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), AT_3, then=at_sample(3, do=scene.virtual.unplug))
    ends.check(result)
    assert samples(result.records) >= 3
    assert scene.seen == list(result.records)
    assert any("waiting up to 2 s" in line for line in scene.said)
    # What could not be cleaned up is found by the next session, and only then.
    scene.close()
    assert any("could not be removed" in line for line in scene.said)
    assert list(scene.virtual.apps()) == [BUNDLE_ID]
    scene.virtual.plug()
    assert scene.run(make_order()).complete
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone is unplugged mid-run and comes back",
    ends=complete(resumed=1),
    keeps="all records of both processes",
)
def test_gone_and_back(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), AT_3, then=at_sample(3, do=blink(scene)))
    ends.check(result)
    assert samples(result.records) == 6
    found = [record for record in result.records if isinstance(record, Sample)]
    assert [record.phase.value for record in found].count("first") == 2
    assert [(record.items[0], record.repetition) for record in found] == [
        ("w0", 0), ("w1", 0), ("w0", 0), ("w1", 0), ("w0", 1), ("w1", 1)
    ]  # fmt: skip
    assert sum(isinstance(record, Header) for record in result.records) == 2
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.mark.fault(
    what="the app ends while the phone is away", ends=complete("its result is there"), keeps="all records"
)
def test_done_while_away(scene: Scene, ends: Ends) -> None:
    body = "header(); load(); pause = 0.02; passes(); memory(); probe(); end()"
    result = scene.run(make_order(), body, then=at_sample(1, do=blink(scene, 1.0)))
    ends.check(result)
    assert samples(result.records) == 6
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.mark.parametrize("left", [0, 300, None])
@pytest.mark.fault(
    what="the phone loses power mid-run, and with it the end of its result file",
    ends=complete(resumed=1),
    keeps="all records, those that were read before included",
)
def test_power_loss(scene: Scene, ends: Ends, left: int | None) -> None:
    def lose_power() -> None:
        scene.virtual.unplug()
        scene.virtual.jetsam(BUNDLE_ID)
        result = scene.virtual.container(BUNDLE_ID) / "Documents/result.jsonl"
        if left is None:
            result.unlink()
        else:
            result.write_bytes(result.read_bytes()[:left])
        later(scene.virtual.plug)

    result = scene.run(make_order(), AT_3, then=at_sample(3, do=lose_power))
    ends.check(result)
    assert samples(result.records) == 6
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone is unplugged again after it came back",
    ends=incomplete("lost a second time", resumed=1),
    keeps="all that had arrived",
)
def test_gone_twice(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), STUCK.format("(2, 5)"), then=at_sample(2, 5, do=blink(scene)))
    ends.check(result)
    assert samples(result.records) >= 4
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.mark.fault(
    what="Developer Mode is off when the phone comes back",
    ends=incomplete("Developer Mode of"),
    keeps="all that had arrived",
)
def test_back_with_another_mind(scene: Scene, ends: Ends) -> None:
    def do() -> None:
        blink(scene)()
        scene.virtual.set(developer_mode=False)

    result = scene.run(make_order(), AT_3, then=at_sample(3, do=do))
    ends.check(result)
    assert samples(result.records) >= 3


@pytest.fixture
def at_pull(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """What is in the list happens, once each, before a whole result is read."""
    events: list[Callable[[], object]] = []
    real = Job._pull

    def pull(job: Job) -> bytes:
        if events:
            events.pop(0)()
        return real(job)

    monkeypatch.setattr(Job, "_pull", pull)
    yield events
    assert not events


@pytest.mark.fault(
    what="the phone is unplugged during the pull and stays away",
    ends=incomplete("the result could not be pulled"),
    keeps="all that had arrived",
)
def test_gone_during_the_pull(scene: Scene, ends: Ends, at_pull: list[Callable[[], object]]) -> None:
    at_pull.append(scene.virtual.unplug)
    result = scene.run(make_order(), AT_3, then=at_sample(3, do=blink(scene)))
    ends.check(result)
    assert samples(result.records) >= 3
    assert scene.seen == list(result.records)


@pytest.mark.fault(
    what="the phone is unplugged during the pull and comes back",
    ends=complete("it is pulled again", resumed=1),
    keeps="all records of both processes",
)
def test_back_for_the_pull(scene: Scene, ends: Ends, at_pull: list[Callable[[], object]]) -> None:
    at_pull.append(blink(scene))
    result = scene.run(make_order(), AT_3, then=at_sample(3, do=blink(scene)))
    ends.check(result)
    assert samples(result.records) == 6
    scene.assert_clean()


@pytest.mark.fault(
    what="the connection that hears of the app's end breaks",
    ends=complete(resumed=1),
    keeps="all records of both processes",
)
def test_process_control_breaks(scene: Scene, ends: Ends) -> None:
    # Lines that are printed in one go are one output: how many there are depends on the clock, and only an app that
    # goes on printing is sure to meet the fault.
    result = scene.run(
        make_order(),
        f"chatty = True; {AT_3}",
        then=at_sample(3, do=lambda: scene.virtual.fault("run.output", "close")),
    )
    ends.check(result)
    assert samples(result.records) == 6
    assert any("process control broke" in line for line in scene.said)
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone does not answer any more, though it is attached",
    ends=incomplete("gave no answer within"),
    keeps="all that had arrived",
)
def test_silent(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("job.ASK", "job.KILL", "phone.ASK", "device.ASK"):
        monkeypatch.setattr(f"harness.devices.ios.{name}_SECONDS", 1.0)

    def fall_silent() -> None:
        for moment in ("afc.read", "usbmux.connect", "lockdown.query"):
            scene.virtual.fault(moment, "hang", times=None)

    result = scene.run(make_order(), AT_3, then=at_sample(3, do=fall_silent))
    ends.check(result)
    assert samples(result.records) >= 3
    scene.virtual.clear_faults()


def harness(scene: Scene, app: Path) -> subprocess.Popen[str]:
    """Another harness that runs the first order on the phone, and prints the records' names."""
    way = scene.way
    script = (
        "import pathlib\n"
        "from harness.devices.ios.device import IosDevice\n"
        "from harness.devices.ios.loop import loop_thread\n"
        "from harness.devices.ios.options import Way\n"
        "from tests.devices.ios.conftest import QUICK\n"
        "from tests.devices.fake_runners import make_order\n"
        "with loop_thread() as loop:\n"
        f"    way = Way({way.usbmux_address!r}, ('tunneld',), {way.tunneld!r}, pathlib.Path({str(way.records)!r}))\n"
        f"    device = IosDevice(loop, {scene.virtual.udid!r}, way, options=QUICK,\n"
        f"        lock_folder=pathlib.Path({str(scene.folder / 'locks')!r}))\n"
        "    try:\n"
        f"        app = pathlib.Path({str(app)!r})\n"
        "        device.run(app, make_order(), on_record=lambda r: print(r.record, flush=True))\n"
        "    finally:\n"
        "        device.close()\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_first_sample(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line == "sample\n":
            return
    raise AssertionError(process.stderr and process.stderr.read())


FOREVER = "header(); load(); pause = 0.2; passes(); time.sleep(600)"


@pytest.mark.fault(
    what="the harness is killed with -9 and started again",
    ends=complete("what it left runs no more, its app and its files are gone at the end"),
    keeps="all records of the new run",
)
def test_the_harness_is_killed(scene: Scene, ends: Ends) -> None:
    with harness(scene, scene.app(FOREVER)) as other:
        until_first_sample(other)
        other.kill()
    assert len(scene.virtual.processes()) == 1
    until = time.monotonic() + 3
    while scene.virtual.assertions() and time.monotonic() < until:
        time.sleep(0.05)
    assert scene.virtual.assertions() == []  # it went with its connection
    ends.check(scene.run(make_order()))
    scene.assert_clean()


def test_ctrl_c_ends_the_app_and_removes_it(scene: Scene) -> None:
    with harness(scene, scene.app(FOREVER)) as other:
        until_first_sample(other)
        other.send_signal(signal.SIGINT)
        _, err = other.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is closed from another thread",
    ends=incomplete("the device was closed"),
    keeps="all that had arrived",
)
def test_closed_from_another_thread(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    result = scene.run(
        make_order(),
        FOREVER,
        device=device,
        then=at_sample(2, do=lambda: threading.Thread(target=device.close).start()),
    )
    ends.check(result)
    assert samples(result.records) >= 2
    scene.assert_clean()


@pytest.mark.fault(
    what="a stale result of a run that was killed lies in the app's folder",
    ends=complete("it is removed first"),
    keeps="all records of the new run",
)
def test_a_stale_result(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    device.deploy(scene.app())
    stale = scene.virtual.container(BUNDLE_ID) / "Documents" / files.RESULT
    record = {"record": "end", "order_id": "order-1", "status": "ok", "samples": 6}
    stale.write_text(json.dumps(record) + "\n")
    result = scene.run(make_order(), device=device)
    ends.check(result)
    assert samples(result.records) == 6
    assert isinstance(result.records[-1], End)
    scene.assert_clean()
