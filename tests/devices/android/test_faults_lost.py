"""The device or the server goes away in the middle, in the ways that only Android has."""

from __future__ import annotations

import time

import pytest

from harness.conformance.arrivals import at_sample, samples
from harness.conformance.behaviour import AT_3
from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, incomplete
from harness.protocol.schema import End
from tests.devices.android.conftest import Scene

pytestmark = pytest.mark.emulator


@pytest.mark.fault(
    what="the device comes back and denies a knob that it had taken",
    ends=complete("the knob records it", resumed=1),
    keeps="all records of both processes",
)
def test_back_with_another_mind(scene: Scene, ends: Ends) -> None:
    def blink() -> None:
        scene.blink()
        scene.virtual.set_command("cmd", "echo 'java.lang.SecurityException: not any more' >&2; exit 255")

    result = scene.run(make_order(), AT_3, then=at_sample(3, do=blink))
    ends.check(result)
    (knob,) = [knob for knob in result.knobs if knob.name == "fixed_performance"]
    assert knob.state == "denied"
    assert "after the device had been lost: java.lang.SecurityException: not any more" in knob.detail


@pytest.mark.fault(
    what="the device is gone while a whole result is pulled, and stays away",
    ends=incomplete("the result could not be pulled"),
    keeps="all that was streamed",
)
def test_gone_while_a_whole_result_is_pulled(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.at_pull(monkeypatch, scene.unplug)
    result = scene.run(make_order())
    ends.check(result)
    assert samples(result.records) == 6
    assert isinstance(result.records[-1], End)
    scene.plug()
    scene.run(make_order())
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is gone while a whole result is pulled, and comes back",
    ends=complete("it is pulled again"),
    keeps="all records",
)
def test_back_for_a_whole_result(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.at_pull(monkeypatch, scene.blink)
    ends.check(scene.run(make_order()))
    scene.assert_clean()


@pytest.mark.fault(
    what="the adb server dies mid-run and stays away",
    ends=incomplete("was lost while the runner ran"),
    keeps="all that had arrived",
)
def test_the_server_dies(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), AT_3, then=at_sample(3, do=scene.adb.kill))
    ends.check(result)
    assert samples(result.records) == 3
    scene.adb.start()
    scene.adb.connect(scene.virtual.serial)
    # The device noticed that nobody listens any more, and ended the runner by itself.
    until = time.monotonic() + 20
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
        scene.when_noticed("waiting up to", scene.adb.start)

    result = scene.run(make_order(), AT_3, then=at_sample(3, do=blink))
    ends.check(result)
    assert samples(result.records) == 6
    scene.assert_clean()
