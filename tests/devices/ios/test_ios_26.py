"""What iPhones of iOS 18 and 26 do otherwise than older ones (docs/ios.md, What differs by iOS version)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from pymobiledevice3.exceptions import PyMobileDevice3Exception
from pymobiledevice3.remote.core_device.app_service import AppServiceService
from pymobiledevice3.services.mobile_image_mounter import MobileImageMounterService

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, raises
from harness.core.cache import Cache
from harness.devices import opened, parse_device
from harness.devices.errors import RunnerUnusable
from harness.devices.ios.launchers import choose_launcher
from harness.devices.ios.phone import Phone
from harness.virtual.ios import VirtualIphone
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import Scene, Shelf, scene_of, with_launcher

pytestmark = pytest.mark.emulator

NOT_NOW: dict[str, Any] = {"error": f"Request to launch {BUNDLE_ID} failed.", "code": 2}


@pytest.fixture
def scene(tmp_path: Path, shelf: Shelf) -> Iterator[Scene]:
    with scene_of(shelf.take("26"), tmp_path, shelf.folder) as scene:
        yield scene


def test_a_good_run_without_any_rights(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open().close()  # paired
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", scene.virtual.usbmux_address)
    device = scene.open(way=replace(scene.way, tunnels=("userspace",)))
    result = scene.run(make_order(), device=device)
    assert result.complete, result.reason
    facts = device.facts()
    assert (facts["ios_version"], facts["ios_build"], facts["model"]) == ("26.4", "23E246", "iPhone 16")
    scene.assert_clean()


def test_output_without_arguments_is_no_error(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The library's own reader logs one with a traceback, at each start of an app."""
    with caplog.at_level(logging.WARNING):
        result = scene.run(make_order(), device=scene.open(with_launcher("dvt")))
    assert result.complete, result.reason
    assert [line.getMessage() for line in caplog.records] == []
    scene.assert_clean()


def test_a_crash_is_found_among_what_is_no_report(scene: Scene) -> None:
    device = scene.open(with_launcher("dvt"))
    folder = scene.virtual.log.parent / "phone-1/crashes"
    result = scene.run(make_order(), "header; load; crash SEGV", device=device)
    assert result.reason is not None
    assert "EXC_BAD_ACCESS SIGSEGV" in result.reason
    assert sorted(path.name for path in folder.iterdir()) == ["BioLog", "Retired"]
    scene.assert_clean()


def test_nothing_asks_for_the_list_of_apps_that_is_never_answered(scene: Scene) -> None:
    """A client that asks waits for ever; the streamed list is answered."""
    device = scene.open()
    device.deploy(scene.app())

    async def ask(link: Any) -> list[str]:
        rsd = await link.rsd()
        async with AppServiceService(rsd) as apps:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(apps.invoke("com.apple.coredevice.feature.listapps", {}), 0.3)
        async with AppServiceService(rsd) as apps:
            assert [process async for process in apps.stream_processes()] == []
            return [app["bundleIdentifier"] for app in await apps.list_apps()]

    assert device._phone.do(ask, deadline=10, what="listing apps") == [BUNDLE_ID]
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone cannot start an app at the moment (process control's code 2), and can soon",
    ends=complete("it is tried again"),
    keeps="all records",
)
def test_not_now(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.ios.launchers.dvt.PAUSE_SECONDS", 0.01)
    scene.virtual.fault("dvt.launch", "refuse", times=3, **NOT_NOW)
    ends.check(scene.run(make_order(), device=scene.open(with_launcher("dvt"))))
    assert scene.virtual.struck()[-3:] == ["dvt.launch refuse"] * 3
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone cannot start an app, however often it is asked (process control's code 2)",
    ends=raises(RunnerUnusable, "does not start the app: Request to launch"),
    keeps="–",
)
def test_never(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.ios.launchers.dvt.PAUSE_SECONDS", 0.01)
    device = scene.open(with_launcher("dvt"))
    before = len(scene.virtual.struck())
    scene.virtual.fault("dvt.launch", "refuse", times=None, **NOT_NOW)
    with ends.raised():
        device.run(scene.app(), make_order())
    assert len(scene.virtual.struck()) - before == 4
    scene.assert_clean()


def test_a_refusal_that_does_not_pass_is_not_asked_for_again(scene: Scene) -> None:
    device = scene.open(with_launcher("dvt"))
    before = len(scene.virtual.struck())
    scene.virtual.fault("dvt.launch", "refuse", times=None, error="The operation was blocked by a policy.")
    with pytest.raises(RunnerUnusable, match="blocked"):  # and that is no lock
        device.run(scene.app(), make_order())
    assert len(scene.virtual.struck()) - before == 1
    scene.assert_clean()


def test_a_refused_image_is_worded_as_it_is_there(scene: Scene) -> None:
    scene.virtual.set(developer_mode=False, image="missing")

    async def mount(link: Any) -> None:
        async with MobileImageMounterService(await link.lockdown()) as mounter:
            await mounter.upload_image("Personalized", b"image", b"ticket")
            answer = await mounter._send_recv({"Command": "MountImage", "ImageType": "Personalized"})
            assert answer["Error"] == "ImageMountFailed"
            assert 'Code=-4 "Developer mode is not enabled."' in answer["DetailedError"]
        async with MobileImageMounterService(await link.lockdown()) as mounter:
            with pytest.raises(PyMobileDevice3Exception, match=r"Developer Mode is disabled"):
                await mounter.mount_image("Personalized", b"ticket")

    phone = Phone(scene.loop, scene.virtual.udid, scene.way, trust_seconds=1.0, notify=print)
    phone.do(mount, deadline=10, what="mounting")
    phone.close()


def test_a_phone_of_ios_18_takes_the_way_of_17(tmp_path: Path) -> None:
    """QUIC, which iOS 18.2 removed, was never used: the tunnel is a service of lockdownd, or a tunneld's."""
    with VirtualIphone("17", os_version="18.7.1") as virtual, scene_of(virtual, tmp_path, tmp_path / "records") as own:
        device = own.open()
        assert (device.facts()["ios_version"], device.facts()["launcher"]) == ("18.7.1", "appservice")
        result = own.run(make_order(), device=device)
        assert result.complete, result.reason
        own.assert_clean()


def test_the_usual_phones(cache: Cache) -> None:
    with opened(parse_device("virtual-ios"), cache=cache, notify=print) as devices:
        assert [device.name.partition(" (")[0] for device in devices] == ["Virtual iPhone 16", "Virtual iPhone 26"]


@pytest.mark.parametrize(
    ("system", "launcher"), [("16.7", "dvt"), ("17.0", "appservice"), ("18.2", "appservice"), ("26.4", "appservice")]
)
def test_the_launcher_of_each_ios(system: str, launcher: str) -> None:
    assert choose_launcher(Version(system), None).name == launcher
