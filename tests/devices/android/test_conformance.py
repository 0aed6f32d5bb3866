"""What every device has to do, on the virtual Android device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from harness.conformance.faults import Ends, complete, raises
from harness.conformance.losing import Filling, Losing, Settling
from harness.conformance.running import Reading, Running
from harness.core.cache import Cache
from harness.devices.errors import DeviceFull, DeviceLost
from harness.virtual.android import virtual_androids
from tests.devices.android.conftest import Scene

pytestmark = pytest.mark.emulator


class TestAndroid(Running, Reading, Losing, Settling, Filling):
    ends: ClassVar[dict[str, Ends]] = {
        "test_gone_before_the_push": raises(DeviceLost, "on 127.0.0.1"),
        "test_gone_during_the_push": raises(DeviceLost, "pushing to 127.0.0.1"),
        "test_no_space_for_the_runner": raises(DeviceFull, "bytes are free"),
        "test_the_harness_is_killed": complete("what it left on the device is removed, its settings are put back"),
    }

    @pytest.fixture
    def bench(self, scene: Scene) -> Scene:
        return scene

    @pytest.fixture
    def tight(self, tmp_path: Path, user_cache: Cache) -> Iterator[Scene]:
        with virtual_androids(1, cache=user_cache, progress=print, data_bytes=8 * 2**20) as (adb, devices):
            scene = Scene(adb, devices[0], tmp_path)
            try:
                yield scene
            finally:
                scene.close()
