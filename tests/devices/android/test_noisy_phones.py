"""Phones on which linkers, shells and vendors' services print before what they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order
from harness.devices.android import adb_checks, attached_devices
from harness.virtual.android import rootfs
from tests.devices.android.conftest import Scene

OUTPUTS = Path(__file__).with_name("outputs")
WARNING = (OUTPUTS / "settings-linker-warning.txt").read_text().splitlines()[0]
BIN = rootfs.FRAMEWORK / "bin"


def make_noisy(scene: Scene, *names: str) -> None:
    """Let these programs print a linker's warning on both streams before they do what they do."""
    noise = f"echo '{WARNING}'; echo '{WARNING}' >&2\n"
    for name in names:
        path = BIN / name
        program = path.read_text().removeprefix("#!/system/bin/sh\n") if path.exists() else f'exec toybox {name} "$@"\n'
        scene.virtual.set_command(name, noise + program)


def test_warnings_belong_to_no_value(scene: Scene) -> None:
    folder = scene.virtual.folder / "framework/settings/global"
    folder.mkdir(parents=True)
    (folder / "stay_on_while_plugged_in").write_text("3\n")
    scene.stays_on = "3"
    make_noisy(scene, "settings", "getprop", "uname", "cmd", "dumpsys", "sha256sum", "stat", "input")
    device = scene.open()
    result = scene.run(make_order(), device=device)
    assert result.complete, result.reason
    knobs = {knob.name: knob for knob in result.knobs}
    assert {name: knob.state for name, knob in knobs.items() if name != "pinned"} == {
        "fixed_performance": "applied",
        "stay_awake": "applied",
        "screen": "applied",
    }
    assert knobs["stay_awake"].detail == "was 3"
    assert knobs["stay_awake"].restored is True
    assert scene.virtual.setting("global", "stay_on_while_plugged_in") == "3"
    assert scene.notices == []
    assert device.facts()["arch"] == "aarch64"
    assert scene.run(make_order(), device=device).complete
    assert len(list((scene.tmp / "harness-store").iterdir())) == 1
    (seen,) = attached_devices(scene.server)
    assert seen.usable
    assert seen.android_version == device.facts()["android_version"]
    assert all(check.ok for check in adb_checks(scene.server) if scene.virtual.serial in check.name)
    scene.assert_clean()


def test_a_setting_whose_value_is_unknown_stays_as_it_is(scene: Scene) -> None:
    scene.virtual.set_command("settings", f"echo '{WARNING}'; [ \"$1\" = get ] || echo changed > /data/local/tmp/put")
    result = scene.run(make_order())
    assert result.complete, result.reason
    (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
    assert (knob.state, knob.restored) == ("unsupported", None)
    assert not (scene.tmp / "put").exists()


@pytest.mark.parametrize("line", ["getWakefulnessLocked()=Dozing", "getWakefulnessLocked()=3", "mWakefulness=Dozing"])
def test_a_screen_that_is_off_in_other_words(scene: Scene, line: str) -> None:
    scene.virtual.set_dumpsys("power", f"POWER MANAGER (dumpsys power)\n\nPower Manager State:\n  {line}\n")
    scene.virtual.set_command("input", 'echo "$*" >> /data/local/tmp/pressed')
    result = scene.run(make_order())
    (knob,) = [knob for knob in result.knobs if knob.name == "screen"]
    assert (knob.state, knob.detail, knob.restored) == ("applied", "was Dozing", True)
    assert (scene.tmp / "pressed").read_text().splitlines() == ["keyevent 224", "keyevent 223"]


def test_a_phone_without_the_power_hal(scene: Scene) -> None:
    words = (OUTPUTS / "fixed-performance-no-hal.txt").read_text().strip()
    scene.virtual.set_command("cmd", f"echo '{words}' >&2; exit 255")
    result = scene.run(make_order())
    (knob,) = [knob for knob in result.knobs if knob.name == "fixed_performance"]
    assert (knob.state, knob.restored) == ("unsupported", None)
    assert scene.notices == []


def test_a_board_without_battery_and_skin_is_measured(scene: Scene) -> None:
    scene.virtual.set_dumpsys("battery", (OUTPUTS / "battery-absent.txt").read_text())
    scene.virtual.set_dumpsys("thermalservice", (OUTPUTS / "thermal-cooling-device.txt").read_text())
    device = scene.open()
    notices: list[str] = []
    device.settle(wait_seconds=0.2, notify=notices.append)
    assert notices == []
    conditions = device.conditions()
    assert (conditions["thermal_status"], conditions["skin_celsius"], conditions["battery_percent"]) == (0, None, None)
