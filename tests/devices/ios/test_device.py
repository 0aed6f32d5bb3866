"""A good run on the virtual iPhone, and what it tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.devices.base import AnyRecord
from harness.devices.ios import apps as apps_module
from harness.devices.ios.options import LauncherName
from harness.protocol.schema import End, Sample
from tests.devices.fake_runners import ARCHIVE, make_order
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import QUICK, Scene, with_launcher

pytestmark = pytest.mark.emulator

LAUNCHERS = [("16", "dvt"), ("16", "debugserver")]


@pytest.mark.parametrize(("scene", "launcher"), LAUNCHERS, indirect=["scene"])
def test_a_good_run_is_complete_and_leaves_nothing_behind(scene: Scene, launcher: LauncherName) -> None:
    device = scene.open(with_launcher(launcher))
    result = scene.run(make_order(), device=device)
    assert result.complete, result.reason
    assert (result.resumed, result.failure) == (0, None)
    assert result.exit_status == (None if launcher == "appservice" else 0)
    assert sum(isinstance(record, Sample) for record in result.records) == 6
    assert scene.seen == list(result.records)
    assert isinstance(result.records[-1], End)
    assert result.observed["launcher"] == launcher
    (knob,) = result.knobs
    assert (knob.name, knob.state, knob.restored) == ("stay_awake", "applied", True)
    assert device.describe(scene.app()).archive_sha256 == ARCHIVE
    scene.assert_clean()


def test_records_arrive_while_the_app_still_runs(scene: Scene) -> None:
    alive: list[bool] = []

    def look(record: AnyRecord) -> None:
        if isinstance(record, Sample):
            alive.append(bool(scene.virtual.processes()) and scene.virtual.assertions() != [])

    result = scene.run(
        make_order(("one",), repetitions=3), "header(); load(); pause = 0.4; passes(); probe(); end()", then=look
    )
    assert result.complete, result.reason
    assert alive == [True] * 4


def test_an_unchanged_app_is_installed_once(scene: Scene) -> None:
    device = scene.open()
    for _ in range(2):
        assert scene.run(make_order(), device=device).complete
    # Another build of the same version goes over it.
    assert scene.run(make_order(), "everything()\n# changed", device=device).complete
    events = [event for event in scene.events if event.split()[0] in ("install", "upgrade")]
    assert events == [f"install {BUNDLE_ID}", f"upgrade {BUNDLE_ID}"]


def test_a_build_is_known_where_a_phone_tells_only_what_apple_knows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        apps_module, "_ATTRIBUTES", [name for name in apps_module._ATTRIBUTES if not name.startswith("Harness")]
    )
    device = scene.open()
    for body in ("everything()", "everything()", "everything()\n# changed"):
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


def test_a_push_tells_how_far_it_is(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps_module, "TELL_SECONDS", 0.0)
    told: list[tuple[int, int]] = []
    device = scene.open()
    app = scene.app("everything()\n#" + "x" * 3_000_000)
    assert device.deploy(app, on_push=lambda done, total: told.append((done, total))).endswith(".app")
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1] > 0


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
    assert conditions["storage_free_bytes"] > 2**20
    scene.virtual.unplug()
    assert "unavailable" in device.conditions()


def test_a_whole_result_counts_whatever_the_exit_status(scene: Scene) -> None:
    result = scene.run(make_order(), "everything(); sys.exit(3)")
    assert result.complete, result.reason
    assert result.exit_status == 3


def test_an_app_that_lives_on_behind_its_end_record_is_ended(scene: Scene) -> None:
    result = scene.run(make_order(), "everything(); time.sleep(600)")
    assert result.complete, result.reason
    scene.assert_clean()


def test_what_on_record_raises_is_raised_and_nothing_stays(scene: Scene) -> None:
    def fail(record: AnyRecord) -> None:
        if isinstance(record, Sample):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scene.run(make_order(), "header(); load(); pause = 0.2; passes(); time.sleep(600)", then=fail)
    scene.assert_clean()


def test_thermal_states_are_kept(scene: Scene) -> None:
    result = scene.run(
        make_order(), "header(); thermal('nominal'); load(); passes(); thermal('fair'); memory(); probe(); end()"
    )
    assert result.complete, result.reason
    assert result.observed["thermal_states"] == ["nominal", "fair"]
