"""Faults while the runner is brought onto the device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.devices import DeviceFull, DeviceLost, FolderNotWritable, RunnerUnusable
from harness.devices.base import AnyRecord
from harness.virtual.android import virtual_androids
from tests.devices.android.conftest import Scene
from tests.devices.android.runners import write_runner
from tests.devices.fake_runners import make_order
from tests.devices.faults import Ends, complete, incomplete, raises

pytestmark = pytest.mark.emulator

BIG = 48 * 2**20


def padded(runner: Path, size: int = BIG) -> Path:
    """The same runner with so many bytes that cannot be compressed behind its end."""
    with runner.open("ab") as file:
        file.write(b"exit\n")
        for _ in range(size // 2**20):
            file.write(os.urandom(2**20))
    return runner


@pytest.mark.fault(what="the device is gone before the push", ends=raises(DeviceLost, "on 127.0.0.1"), keeps="–")
def test_gone_before_the_push(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    scene.virtual.kill()
    with ends.raised():
        scene.run(make_order(), device=device)
    assert "unavailable" in device.conditions()
    scene.virtual.restart()
    assert scene.run(make_order()).complete
    scene.assert_clean()


@pytest.mark.fault(
    what="the device is gone during the push", ends=raises(DeviceLost, "pushing to 127.0.0.1"), keeps="–"
)
def test_gone_during_the_push(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every piece is announced, so that the cable is pulled between two of them however fast this machine is.
    monkeypatch.setattr("harness.devices.android.store.TELL_SECONDS", 0.0)
    order = make_order()
    runner = padded(write_runner(scene.folder, order))
    device = scene.open()

    def pull_the_cable(done: int, total: int) -> None:
        if total // 2 < done < total:
            scene.virtual.kill()

    with ends.raised():
        device.deploy(runner, on_push=pull_the_cable)
    left = scene.half_pushed()
    assert left
    assert (scene.tmp / "harness-store" / left[0]).stat().st_size < runner.stat().st_size
    scene.virtual.restart()
    assert scene.open().run(runner, order).complete
    scene.assert_clean()


@pytest.mark.fault(what="no space for the runner", ends=raises(DeviceFull, "bytes are free"), keeps="–")
def test_no_space_for_the_runner(ends: Ends, tmp_path: Path, user_cache: Cache) -> None:
    with virtual_androids(1, cache=user_cache, progress=print, data_bytes=8 * 2**20) as (adb, devices):
        scene = Scene(adb, devices[0], tmp_path)
        order = make_order()
        with scene.closing, ends.raised():
            scene.open().run(padded(write_runner(tmp_path, order)), order)
        scene.assert_clean()
        with scene.closing:
            assert scene.run(order).complete


@pytest.mark.fault(
    what="the work folder cannot be made", ends=raises(FolderNotWritable, "/system on 127.0.0.1"), keeps="–"
)
def test_an_unwritable_folder(scene: Scene, ends: Ends) -> None:
    with ends.raised():
        scene.run(make_order(), workdir=Path("/system"))
    scene.assert_clean()


@pytest.mark.fault(what="the runner is no program of this device", ends=raises(RunnerUnusable, "ELF"), keeps="–")
def test_a_foreign_runner(scene: Scene, ends: Ends) -> None:
    foreign = scene.folder / "foreign"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44))
    device = scene.open(launcher=())
    with ends.raised():
        device.run(foreign, make_order())
    scene.assert_clean()
    with pytest.raises(RunnerUnusable):
        device.describe(foreign)


@pytest.mark.fault(what="the runner's file is missing", ends=raises(RunnerUnusable, "cannot be read"), keeps="–")
def test_no_runner(scene: Scene, ends: Ends) -> None:
    with ends.raised():
        scene.open().run(scene.folder / "absent", make_order())
    scene.assert_clean()


@pytest.mark.fault(
    what="the runner arrives with other contents",
    ends=incomplete("other contents than were pushed"),
    keeps="all records, in doubt",
)
def test_other_contents_arrive(scene: Scene, ends: Ends) -> None:
    def damage(_record: AnyRecord) -> None:
        for name in scene.half_pushed():
            with (scene.tmp / "harness-store" / name).open("ab") as file:
                file.write(b"#")

    order = make_order()
    result = scene.run(order, then=damage)
    ends.check(result)
    assert len(result.records) == 14
    scene.assert_clean()
    assert list((scene.tmp / "harness-store").iterdir()) == []
    assert scene.run(order).complete


@pytest.mark.parametrize("damage", ["torn", "changed"])
@pytest.mark.fault(
    what="the runner on the device was damaged since", ends=complete("it is pushed again"), keeps="all records"
)
def test_a_damaged_runner_is_pushed_again(scene: Scene, ends: Ends, damage: str) -> None:
    order = make_order()
    assert scene.run(order).complete
    (stored,) = (scene.tmp / "harness-store").iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(whole[:100] if damage == "torn" else b"#" + whole[1:])
    ends.check(scene.run(order))
    assert stored.read_bytes() == whole
    scene.assert_clean()
