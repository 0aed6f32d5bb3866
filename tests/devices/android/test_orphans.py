"""A runner on the phone ends with its harness; one that did not is ended before the next run measures."""

from __future__ import annotations

import pytest

from harness.conformance.behaviour import FOREVER
from harness.conformance.fake_runners import make_order
from harness.devices.android import AndroidDevice
from harness.devices.base import AnyRecord
from harness.protocol.schema import Header
from tests.devices.android.conftest import Scene
from tests.devices.virtual.processes import wait_until

pytestmark = pytest.mark.emulator

STAY = """trap '' HUP
mkdir -p "$1"
cd "$1" || exit
sleep 600 >/dev/null 2>&1 </dev/null &
echo $!
"""
"""What no end of a connection ends, in a work folder."""


def left_in(scene: Scene, device: AndroidDevice, folder: str) -> int:
    """A process that works in a folder of the phone and goes on without its shell."""
    answer = device._shell.run(STAY, f"/data/local/tmp/{folder}", deadline=30, what="leaving something")
    return int(answer.out)


def runs(device: AndroidDevice, pid: int) -> bool:
    asked = device._shell.run('test -d "/proc/$1" && echo yes', str(pid), deadline=30, what="looking")
    return "yes" in asked.out


def test_a_runner_ends_with_its_harness(scene: Scene) -> None:
    with scene.other_harness(FOREVER) as other:
        # Between two samples nothing of it sleeps for a moment.
        wait_until(scene.runs, "the runner waits")
        other.kill()
        other.wait()
    scene.assert_idle()
    assert scene.run().complete
    scene.assert_clean()


def test_one_that_did_not_is_ended_before_anything_is_measured(scene: Scene) -> None:
    device = scene.open()
    folder = f"harness-{device._computer}-00000000"
    pid = left_in(scene, device, folder)
    assert runs(device, pid)
    seen: list[bool] = []

    def look(record: AnyRecord) -> None:
        # The header is what a runner writes before it loads anything.
        if isinstance(record, Header):
            seen.append(runs(device, pid))

    result = device.run(scene.runner(), make_order(), on_record=look)
    assert result.complete, result.reason
    assert seen == [False]
    assert any(line.startswith(f"removed {folder}, left on {device.serial}") for line in scene.notices)
    scene.assert_clean()
