"""Faults while the runner is brought onto the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, incomplete, raises
from harness.devices import FolderNotWritable
from harness.devices.base import AnyRecord
from tests.devices.android.conftest import Scene

pytestmark = pytest.mark.emulator


@pytest.mark.fault(
    what="the work folder cannot be made", ends=raises(FolderNotWritable, "/system on 127.0.0.1"), keeps="–"
)
def test_an_unwritable_folder(scene: Scene, ends: Ends) -> None:
    with ends.raised():
        scene.run(make_order(), workdir=Path("/system"))
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
