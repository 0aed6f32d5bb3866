"""An app whose harness was killed goes on, as after a lost cable; the next run ends it before it measures."""

from __future__ import annotations

import time

import pytest

from harness.conformance.behaviour import FOREVER
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import Scene, with_launcher

pytestmark = pytest.mark.emulator


def killed(scene: Scene) -> int:
    """A harness is killed while its app measures; the app's process, which goes on."""
    with scene.other_harness(FOREVER) as other:
        other.kill()
        other.wait()
    (left,) = scene.virtual.processes()
    return int(left["pid"])


@pytest.mark.thorough(keep=["None-26"])
@pytest.mark.parametrize("scene", ["16", "26"], indirect=True)
@pytest.mark.parametrize("launcher", [None, "debugserver"])
def test_it_is_ended_while_nothing_is_measured_yet(scene: Scene, launcher: str | None) -> None:
    killed(scene)
    device = scene.open(with_launcher(launcher))
    assert len(scene.virtual.processes()) == 1, "only who holds the phone ends anything"
    with device.reserve():
        assert scene.virtual.processes() == []
        assert scene.notices == [f"ended {BUNDLE_ID} on {device.name}, left by a run that was killed"]
    with device.reserve():
        assert len(scene.notices) == 1
    assert scene.run(device=device).complete
    scene.assert_clean()


def test_the_app_of_a_living_harness_is_left_alone(scene: Scene) -> None:
    with scene.other_harness(FOREVER) as other:
        device = scene.open()
        # As one that does not see the lock, such as a container with a folder of its own.
        device._end_left()
        time.sleep(0.2)
        assert len(scene.virtual.processes()) == 1
        other.kill()
    assert scene.run(device=device).complete
    scene.assert_clean()


def test_a_phone_that_does_not_answer_is_named_and_asked_again(scene: Scene) -> None:
    killed(scene)
    device = scene.open()
    scene.virtual.unplug()
    with device.reserve():
        assert "may still run: " in scene.notices[-1]
        assert len(scene.virtual.processes()) == 1
    scene.virtual.plug()
    assert scene.run(device=device).complete
    assert any(line.startswith(f"ended {BUNDLE_ID}") for line in scene.notices)
    scene.assert_clean()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"bundle_id": "x", "owner": "many", "owner_started": null}'])
def test_a_note_that_is_none_ends_nothing(scene: Scene, text: str) -> None:
    device = scene.open()
    note = device._lock.note_path
    with device.reserve():
        note.write_text(text)
    with device.reserve():
        assert scene.notices == []
