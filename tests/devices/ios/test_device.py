"""A good run on the virtual iPhone, and what it reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.conformance.fake_runners import ARCHIVE, make_order
from harness.devices.ios import apps as apps_module
from harness.devices.ios.options import LauncherName
from harness.protocol.schema import End
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import QUICK, Scene, with_launcher

pytestmark = pytest.mark.emulator

LAUNCHERS = [("16", "dvt"), ("16", "debugserver"), ("17", "appservice"), ("26", "dvt"), ("26", "debugserver")]


@pytest.mark.parametrize(("scene", "launcher"), LAUNCHERS, indirect=["scene"])
def test_what_a_good_run_reports(scene: Scene, launcher: LauncherName) -> None:
    device = scene.open(with_launcher(launcher))
    result = scene.run(make_order(), device=device)
    assert result.complete, result.reason
    assert result.exit_status == (None if launcher == "appservice" else 0)
    assert scene.seen == list(result.records)
    assert isinstance(result.records[-1], End)
    assert result.observed["launcher"] == device.facts()["launcher"] == launcher
    (knob,) = result.knobs
    assert (knob.name, knob.state, knob.restored) == ("stay_awake", "applied", True)
    assert device.describe(scene.app()).archive_sha256 == ARCHIVE
    scene.assert_clean()


def test_an_unchanged_app_is_installed_once(scene: Scene) -> None:
    device = scene.open()
    for _ in range(2):
        assert scene.run(make_order(), device=device).complete
    # Another build of the same version goes over it.
    assert scene.run(make_order(), "everything; rest 0", device=device).complete
    events = [event for event in scene.events if event.split()[0] in ("install", "upgrade")]
    assert events == [f"install {BUNDLE_ID}", f"upgrade {BUNDLE_ID}"]


def test_a_build_is_known_where_a_phone_reports_only_apples_names(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        apps_module, "_ATTRIBUTES", [name for name in apps_module._ATTRIBUTES if not name.startswith("Harness")]
    )
    device = scene.open()
    for body in ("everything", "everything", "everything; rest 0"):
        assert scene.run(make_order(), body, device=device).complete
    events = [event.split()[0] for event in scene.events]
    assert (events.count("install"), events.count("upgrade")) == (1, 1)
    scene.assert_clean()


def test_an_app_can_be_kept_for_the_next_session(scene: Scene) -> None:
    kept = scene.open(replace(QUICK, keep_app=True))
    assert scene.run(make_order(), device=kept).complete
    kept.close()
    assert list(scene.virtual.apps()) == [BUNDLE_ID]
    assert scene.run(make_order()).complete
    assert scene.events.count(f"install {BUNDLE_ID}") == 1
    scene.assert_clean()


def test_what_a_phone_is(scene: Scene) -> None:
    device = scene.open()
    facts = device.facts()
    assert {"kind", "name", "cpu_model", "cores", "arch", "governor", "memory_bytes", "os", "kernel"} <= set(facts)
    assert (facts["kind"], facts["emulated"], facts["ios_version"]) == ("ios", True, scene.virtual.os_version)
    assert (facts["ios_build"], facts["product_type"]) == ("20H115", "iPhone14,5")
    assert device.target == "ios-arm64"
    assert scene.virtual.udid in device.name
    scene.virtual.set(battery_level=61, battery_temperature=3050)
    conditions = device.conditions()
    assert (conditions["battery_percent"], conditions["battery_celsius"]) == (61, 30.5)
    assert (conditions["battery_health_percent"], conditions["battery_cycles"]) == (93, 120)
    assert conditions["storage_free_bytes"] > 2**20
    scene.virtual.unplug()
    assert "unavailable" in device.conditions()


def test_an_app_that_lives_on_behind_its_end_record_is_ended(scene: Scene) -> None:
    result = scene.run(make_order(), "everything; stay")
    assert result.complete, result.reason
    scene.assert_clean()


def test_thermal_states_are_kept(scene: Scene) -> None:
    result = scene.run(make_order(), "header; thermal nominal; load; passes; thermal fair; memory; probe; end")
    assert result.complete, result.reason
    assert result.observed["thermal_states"] == ["nominal", "fair"]
