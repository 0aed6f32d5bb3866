"""What every device has to do, on virtual iPhones: with iOS 16 in two ways to start an app, with iOS 26 in a third."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness.conformance.faults import Ends, complete, incomplete, raises
from harness.conformance.losing import Filling, Losing, Returning, Settling
from harness.conformance.running import Endings, Reading, Running
from harness.devices.errors import DeviceFull, DeviceLost, RunnerUnusable
from tests.devices.ios.conftest import QUICK, Scene, Shelf, scene_of

pytestmark = pytest.mark.emulator

WORDS = {"device": "the phone", "runner": "the app"}
CRASHED = {
    "test_a_crash[SEGV]": incomplete("the app crashed: EXC_BAD_ACCESS SIGSEGV"),
    "test_a_crash[ABRT]": incomplete("the app crashed: EXC_CRASH SIGABRT"),
}
ENDS = {
    **CRASHED,
    # The result's end record decides on iPhones, whose launchers do not all hear of a status.
    "test_exits_badly_behind_a_whole_result": complete("its result counts"),
    "test_a_foreign_runner": raises(RunnerUnusable, "is no app for iOS"),
    "test_gone_before_the_push": raises(DeviceLost, "was lost while looking for the app"),
    "test_gone_during_the_push": raises(DeviceLost, "was lost while installing the app"),
    "test_no_space_for_the_runner": raises(DeviceFull, "no room on"),
    "test_the_harness_is_killed": complete("what it left runs no more, its app and its files are gone at the end"),
}


class OnIphones(Running, Losing, Settling, Filling):
    words: ClassVar[dict[str, str]] = WORDS

    @pytest.fixture
    def tight(self, bench: Scene) -> Scene:
        bench.virtual.set(space_bytes=2**20)
        return bench


@pytest.mark.thorough
class TestIos16(OnIphones, Reading):
    ends: ClassVar[dict[str, Ends]] = ENDS

    @pytest.fixture
    def bench(self, tmp_path: Path, shelf: Shelf) -> Iterator[Scene]:
        with scene_of(shelf.take("16"), tmp_path, shelf.folder) as scene:
            yield scene


class TestIos26(OnIphones):
    """Started by the app service, as from iOS 17 on, which hears that an app has ended and not how."""

    variant: ClassVar[str] = "iOS 17 and newer"
    ends: ClassVar[dict[str, Ends]] = ENDS
    variant_ends: ClassVar[dict[str, Ends]] = {
        "test_killed": incomplete("the app ended without a crash report"),
        "test_no_description": raises(RunnerUnusable, "did not print a description"),
        "test_exits_with_1": incomplete("the app ended without a crash report"),
    }

    @pytest.fixture
    def bench(self, tmp_path: Path, shelf: Shelf) -> Iterator[Scene]:
        with scene_of(shelf.take("26"), tmp_path, shelf.folder) as scene:
            scene.hears_status = False
            yield scene


class TestDebugserver(Endings, Returning):
    words: ClassVar[dict[str, str]] = WORDS
    ends: ClassVar[dict[str, Ends]] = CRASHED

    @pytest.fixture(params=["16", "26"])
    def bench(self, request: pytest.FixtureRequest, tmp_path: Path, shelf: Shelf) -> Iterator[Scene]:
        with scene_of(shelf.take(request.param), tmp_path, shelf.folder) as scene:
            scene.options = replace(QUICK, launcher="debugserver")
            yield scene
