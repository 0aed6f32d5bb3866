"""Faults of a runner, and of what it writes, that only Android has."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.conformance.arrivals import samples
from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, incomplete
from harness.core.cache import Cache
from harness.devices.android import AndroidOptions
from harness.devices.base import AnyRecord
from harness.protocol.schema import Header, Sample
from harness.virtual.android import virtual_androids
from tests.devices.android.conftest import QUICK, Scene

pytestmark = pytest.mark.emulator


@pytest.mark.fault(
    what="what was streamed is not what the result file holds",
    ends=incomplete("what was streamed differs from the result file"),
    keeps="the file's records",
)
def test_a_stream_that_lies(scene: Scene, ends: Ends) -> None:
    lie = '{"record": "memory", "peak_bytes": 666}'
    result = scene.run(make_order(), f"header; load; passes; print -r -- '{lie}'; probe; end")
    ends.check(result)
    assert samples(result.records) == 6


@pytest.mark.fault(what="the runner streams nothing", ends=complete("its result file is enough"), keeps="all records")
def test_a_runner_that_does_not_stream(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), "stream=; everything")
    ends.check(result)
    assert scene.seen == list(result.records)


@pytest.mark.fault(
    what="no space left while the result is written",
    ends=incomplete("No space left on device"),
    keeps="what could be written",
)
def test_no_space_for_the_result(ends: Ends, tmp_path: Path, user_cache: Cache) -> None:
    with virtual_androids(1, cache=user_cache, progress=print, data_bytes=2**20) as (adb, devices):
        scene = Scene(adb, devices[0], tmp_path)
        body = "header; load; head -c 4194304 /dev/zero > filler; passes; memory; probe; end"
        # More than the page that the file has already.
        result = scene.run(make_order(tuple("abcdefghijklmnop" * 4)), body)
        ends.check(result)
        assert isinstance(result.records[0], Header)
        scene.assert_clean()
        scene.close()


@pytest.mark.fault(
    what="the thermal status rises to severe during the run",
    ends=incomplete("thermal status rose to severe (3), stopped"),
    keeps="what it had written",
)
def test_too_hot_during_the_run(scene: Scene, ends: Ends) -> None:
    def heat(record: AnyRecord) -> None:
        if isinstance(record, Sample):
            scene.virtual.set_thermal_status(3)

    result = scene.run(make_order(), "header; load; pause=0.3; passes; sleep 60; end", then=heat)
    ends.check(result)
    assert 1 <= samples(result.records) <= 6
    assert result.observed["thermal_status_highest"] == 3
    scene.assert_clean()


@pytest.mark.fault(what="the device denies a knob", ends=complete("the knob records it"), keeps="all records")
def test_a_denied_knob(scene: Scene, ends: Ends) -> None:
    words = "java.lang.SecurityException: Permission denial: writing to settings requires:android.permission.X"
    scene.virtual.set_property("ro.product.manufacturer", "Xiaomi")
    scene.virtual.set_command("settings", f"case $1 in get) echo 0 ;; *) echo '{words}' >&2; exit 255 ;; esac")
    result = scene.run(make_order())
    ends.check(result)
    (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
    assert (knob.state, knob.detail, knob.restored) == ("denied", words, None)
    assert any("USB debugging (Security settings)" in line for line in scene.notices)


@pytest.mark.fault(what="the device lacks a knob", ends=complete("the knob is `unsupported`"), keeps="all records")
def test_an_unsupported_knob(scene: Scene, ends: Ends) -> None:
    scene.virtual.set_command("cmd", 'echo "cmd: Can\'t find service: power" >&2; exit 20')
    scene.virtual.set_command("taskset", 'echo "taskset: failed to set: Invalid argument" >&2; exit 1')
    result = scene.run(make_order())
    ends.check(result)
    states = {knob.name: knob.state for knob in result.knobs}
    assert states == {
        "pinned": "unsupported",
        "fixed_performance": "unsupported",
        "stay_awake": "applied",
        "screen": "applied",
    }


@pytest.mark.fault(
    what="a setting cannot be put back",
    ends=complete("the knob has `restored: false`, with a notice"),
    keeps="all records",
)
def test_restoring_fails(scene: Scene, ends: Ends) -> None:
    scene.restores = False

    def forbid(record: AnyRecord) -> None:
        if isinstance(record, Header):
            scene.virtual.set_command("settings", "case $1 in get) echo 7 ;; *) echo 'Failure' >&2; exit 255 ;; esac")

    result = scene.run(make_order(), "header; load; pause=0.2; passes; memory; probe; end", then=forbid)
    ends.check(result)
    (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
    assert (knob.state, knob.restored) == ("applied", False)
    assert any("stay_awake of" in line and "not as it was" in line for line in scene.notices)
    scene.assert_clean()


def test_thermal_looks_are_rare_by_default() -> None:
    assert AndroidOptions().watch.thermal_seconds > QUICK.watch.thermal_seconds
