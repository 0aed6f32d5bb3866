"""Faults of an app that only iPhones have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.conformance.arrivals import at_sample, samples
from harness.conformance.behaviour import FOREVER
from harness.conformance.fake_runners import ARCHIVE, make_order
from harness.conformance.faults import Ends, complete, incomplete
from harness.devices.collect import ResultReader
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import QUICK, Scene, with_launcher

pytestmark = pytest.mark.emulator


@pytest.mark.fault(
    what="the watchdog ends the app for not coming up",
    ends=incomplete("0x8badf00d: the system's watchdog ended it"),
    keeps="what it had written, and the crash report",
)
def test_watchdog(scene: Scene, ends: Ends) -> None:
    scene.virtual.set(launch_watchdog_seconds=0.5)
    result = scene.run(make_order(), "header; load; stay")
    ends.check(result)
    assert result.reason is not None
    assert "scene-create watchdog transgression" in result.reason
    assert len(result.records) == 4
    scene.assert_clean()


@pytest.mark.fault(
    what="the watchdog reports nothing where a debugger started the app", ends=complete(), keeps="all records"
)
def test_no_watchdog_under_a_debugger(scene: Scene, ends: Ends) -> None:
    scene.virtual.set(launch_watchdog_seconds=0.3)
    body = "header; load; rest 0.6; passes; memory; probe; end"
    ends.check(scene.run(make_order(), body, device=scene.open(with_launcher("debugserver"))))


@pytest.mark.fault(
    what="nobody reports the app's end",
    ends=incomplete("the app ended without a crash report"),
    keeps="what it had written",
)
def test_ends_in_silence(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.ios.launchers.dvt.LOOK_SECONDS", 0.3)
    scene.virtual.set(reports_ends=False)
    device = scene.open(replace(QUICK, crash_seconds=0.3))
    result = scene.run(make_order(), "header; load; leave 1", device=device)
    ends.check(result)
    assert (len(result.records), result.exit_status) == (4, None)
    assert device.describe(scene.app()).archive_sha256 == ARCHIVE
    scene.assert_clean()


@pytest.mark.fault(
    what="the app is stopped in the background",
    ends=incomplete("still running after the deadline of 1 s, killed"),
    keeps="what it had written",
)
def test_suspended(scene: Scene, ends: Ends) -> None:
    result = scene.run(
        make_order(), FOREVER, deadline=1.0, then=at_sample(1, do=lambda: scene.virtual.suspend(BUNDLE_ID))
    )
    ends.check(result)
    assert samples(result.records) >= 1
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone's thermal state rises to serious",
    ends=incomplete("thermal state rose to serious, stopped"),
    keeps="what it had written",
)
def test_too_hot(scene: Scene, ends: Ends) -> None:
    body = "header; thermal nominal; load; thermal serious; slow 0.2; passes; stay"
    result = scene.run(make_order(), body)
    ends.check(result)
    assert result.observed["thermal_states"] == ["nominal", "serious"]
    scene.assert_clean()


@pytest.mark.fault(
    what="the result is larger than is believed",
    ends=incomplete("the result is larger than 65536 bytes"),
    keeps="what came before",
)
def test_a_flood_of_results(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(*arguments: Any, **options: Any) -> ResultReader:
        return ResultReader(*arguments, **options, max_bytes=65536)

    monkeypatch.setattr("harness.devices.ios.job.ResultReader", small)
    result = scene.run(make_order(), "header; load; swell")
    ends.check(result)
    scene.assert_clean()
