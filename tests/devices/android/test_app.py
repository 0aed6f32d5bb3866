"""Apps on the virtual device: what every way of starting a runner has to do, and what only an app can meet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from harness.conformance.arrivals import at_sample
from harness.conformance.behaviour import AT_3, FOREVER
from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, incomplete, raises
from harness.conformance.losing import Returning
from harness.conformance.running import Endings
from harness.core.cache import Cache
from harness.devices.android.errors import AppNotStarted, DeviceLocked, InstallRefused
from harness.devices.errors import DeviceFull, RunnerUnusable
from harness.virtual.android import virtual_androids
from tests.devices.android.app_scene import AppScene

pytestmark = pytest.mark.emulator
TRUST = (
    'Trust manager state:\n User "Owner" (id=0, flags=0xc13) (current): trusted=0, trustManaged=0, deviceLocked={}\n'
)


@pytest.fixture
def app(tmp_path: Path, user_cache: Cache) -> Iterator[AppScene]:
    with virtual_androids(1, cache=user_cache, progress=print) as (adb, devices):
        scene = AppScene(adb, devices[0], tmp_path)
        try:
            yield scene
        finally:
            scene.close()
            assert scene.virtual.packages.installed == []


class TestAndroidApp(Endings, Returning):
    words: ClassVar[dict[str, str]] = {"device": "the device", "runner": "the runner in an app"}
    ends: ClassVar[dict[str, Ends]] = {
        "test_a_crash": incomplete("the runner was killed by SIGSEGV"),
        "test_killed": incomplete("the runner was killed by SIGKILL"),
    }

    @pytest.fixture
    def bench(self, app: AppScene) -> AppScene:
        return app


def test_an_app_is_recorded_as_one(app: AppScene) -> None:
    device = app.open()
    assert device.facts()["android_mode"] == "app"
    assert device.name.endswith(", app")
    result = app.run(device=device)
    assert result.complete, result.reason
    process, granted = result.observed["process"], result.observed["granted"]
    assert process["cpuset"].startswith("/")
    assert process["oom_score_adj"] is not None
    (pinned,) = [knob for knob in result.knobs if knob.name == "pinned"]
    assert pinned.detail == f"cores {process['cores']}, verified"
    assert granted == {"hint_rate_ns": None, "thermal_status": 0, "headroom": 0.5, "game_mode": granted["game_mode"]}
    assert "standard" in granted["game_mode"]
    (package,) = app.virtual.packages.installed
    (log,) = (app.virtual.folder / "framework/apps").glob("*.log")
    assert log.stem == package
    app.assert_clean()


def test_two_runners_stay_installed_side_by_side_until_the_end(app: AppScene) -> None:
    device = app.open()
    order = make_order()
    for name in ("a", "b", "a"):
        runner = app.runner(f"everything # {name}", order).rename(app.folder / name)
        assert device.run(runner, order).complete
    assert len(app.virtual.packages.installed) == 2
    device.close()
    assert app.virtual.packages.installed == []


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        pytest.param(
            "INSTALL_FAILED_USER_RESTRICTED: Install canceled by user",
            "allow installing over USB",
            marks=pytest.mark.fault(
                what="the phone lets adb install no app (Xiaomi and others)",
                ends=raises(InstallRefused, "INSTALL_FAILED_USER_RESTRICTED"),
                keeps="–",
            ),
        ),
        pytest.param(
            "INSTALL_FAILED_VERIFICATION_FAILURE",
            "Play Protect",
            marks=pytest.mark.fault(
                what="Play Protect refuses the app",
                ends=raises(InstallRefused, "INSTALL_FAILED_VERIFICATION_FAILURE"),
                keeps="–",
            ),
        ),
        pytest.param(
            "INSTALL_FAILED_INSUFFICIENT_STORAGE",
            "free some space",
            marks=pytest.mark.fault(
                what="no space to install the app", ends=raises(DeviceFull, "no room for the app"), keeps="–"
            ),
        ),
    ],
)
def test_an_installation_that_is_refused(app: AppScene, ends: Ends, refusal: str, error: str) -> None:
    app.virtual.packages.refusal = refusal
    with ends.raised() as info:
        app.run()
    assert error in info.value.cure
    app.assert_clean()


@pytest.mark.fault(
    what="the phone runs no programs of the app's ABI",
    ends=raises(RunnerUnusable, "INSTALL_FAILED_NO_MATCHING_ABIS"),
    keeps="–",
)
def test_another_abi(app: AppScene, ends: Ends) -> None:
    device = app.open()
    app.virtual.set_property("ro.product.cpu.abilist", "armeabi-v7a")
    with ends.raised():
        app.run(device=device)
    app.assert_clean()


@pytest.mark.fault(what="a PIN locks the screen", ends=raises(DeviceLocked, "is locked"), keeps="–")
def test_a_locked_screen(app: AppScene, ends: Ends) -> None:
    app.virtual.set_dumpsys("trust", TRUST.format(1))
    device = app.open()
    with ends.raised():
        app.run(device=device)
    app.assert_clean()
    app.virtual.set_dumpsys("trust", TRUST.format(0))
    assert app.run(device=device).complete


@pytest.mark.fault(
    what="the app crashes at its start", ends=raises(AppNotStarted, "reason=5 (CRASH_NATIVE)"), keeps="–"
)
def test_an_app_that_crashes_at_its_start(app: AppScene, ends: Ends) -> None:
    (app.virtual.folder / "framework/app_crashes").touch()
    (app.virtual.folder / "framework/exit_info").write_text("  timestamp=… reason=5 (CRASH_NATIVE) subreason=0\n")
    with ends.raised():
        app.run()
    app.assert_clean()


@pytest.mark.fault(
    what="Android ends the app mid-run, because it wants its memory",
    ends=incomplete("Android ended it; reason=3 (LOW_MEMORY)"),
    keeps="what it had written",
)
def test_an_app_that_is_ended_for_its_memory(app: AppScene, ends: Ends) -> None:
    (app.virtual.folder / "framework/exit_info").write_text("  timestamp=… reason=3 (LOW_MEMORY) subreason=0\n")
    result = app.run(None, AT_3, then=at_sample(3, do=lambda: app.signal(app.pids()[0])))
    ends.check(result)
    app.assert_kept(result, 3)
    app.assert_clean()


@pytest.mark.fault(
    what="somebody leaves the app mid-run", ends=incomplete("left the foreground"), keeps="what it had written"
)
def test_an_app_that_leaves_the_foreground(app: AppScene, ends: Ends) -> None:
    result = app.run(None, AT_3, then=at_sample(3, do=lambda: app.signal(app.pids()[0], "TERM")))
    ends.check(result)
    app.assert_kept(result, 3)
    app.assert_clean()


def test_an_app_that_is_paused_for_a_moment_goes_on(app: AppScene) -> None:
    """As one is when Android turns the screen on."""

    def pause() -> None:
        pid, _ = app.pids()
        app.adb.client.device(app.virtual.serial).shell2(f"kill -TERM {pid}; kill -USR1 {pid}", v2=True)

    result = app.run(None, "header; load; slow 0.3; passes; memory; probe; end", then=at_sample(1, do=pause))
    assert result.complete, result.reason
    app.assert_clean()


@pytest.mark.fault(
    what="the harness is killed with -9 while its app runs, and started again",
    ends=complete("the app ends by itself, and the next run removes it"),
    keeps="–",
)
def test_the_app_ends_with_its_harness(app: AppScene, ends: Ends) -> None:
    with app.other_harness(FOREVER) as harness:
        assert harness.poll() is None
    until = time.monotonic() + 60
    while app.processes() and time.monotonic() < until:
        time.sleep(0.2)
    assert app.processes() == set()
    assert len(app.virtual.packages.installed) == 1
    ends.check(app.run())
    assert any(line.startswith("removed harness-") for line in app.notices)
    app.assert_clean()


def test_closing_from_another_thread_ends_the_app(app: AppScene) -> None:
    device = app.open()
    closing = threading.Thread(target=device.close)
    result = app.run(None, AT_3, device=device, then=at_sample(3, do=closing.start))
    closing.join()
    assert result.reason == "the device was closed"
    app.assert_clean()
