"""The phone goes away in the middle, in the ways that only iPhones have."""

from __future__ import annotations

import json
import time

import pytest

from harness.conformance.arrivals import at_sample, samples
from harness.conformance.behaviour import AT_3
from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, incomplete
from harness.devices.ios import files
from harness.protocol.schema import End
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import Scene

pytestmark = pytest.mark.emulator


@pytest.mark.fault(
    what="the app ends while the phone is away", ends=complete("its result is there"), keeps="all records"
)
def test_done_while_away(scene: Scene, ends: Ends) -> None:
    def back_when_it_is_done() -> None:
        while scene.virtual.processes():
            time.sleep(0.02)
        scene.plug()

    def lose() -> None:
        scene.unplug()
        scene.when_noticed("waiting up to", back_when_it_is_done)

    result = scene.run(make_order(), "slow 0.02; everything", then=at_sample(1, do=lose))
    ends.check(result)
    scene.assert_kept(result, 6)
    scene.assert_clean()


@pytest.mark.fault(
    what="Developer Mode is off when the phone comes back",
    ends=incomplete("Developer Mode of"),
    keeps="all that had arrived",
)
def test_back_with_another_mind(scene: Scene, ends: Ends) -> None:
    def do() -> None:
        scene.blink()
        scene.virtual.set(developer_mode=False)

    result = scene.run(make_order(), AT_3, then=at_sample(3, do=do))
    ends.check(result)
    assert samples(result.records) >= 3


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
        f"chat; {AT_3}",
        then=at_sample(3, do=lambda: scene.virtual.fault("run.output", "close")),
    )
    ends.check(result)
    assert samples(result.records) == 6
    assert any("process control broke" in line for line in scene.notices)
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


@pytest.mark.fault(
    what="a stale result of a run that was killed is in the app's folder",
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
