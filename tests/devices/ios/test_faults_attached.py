"""Faults before anything is deployed: no phone, no trust, the wrong state."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pymobiledevice3 import common

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, raises
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices import Selection, Unavailable, opened, parse_device
from harness.devices.errors import AmbiguousDevice, DeviceLost, NoDevice, UnknownDevice
from harness.devices.ios import attached_iphones, ios_checks
from harness.devices.ios.choice import choose
from harness.devices.ios.errors import (
    DeveloperModeOff,
    ImageMissing,
    IosSupportMissing,
    PairingPending,
    PairingRefused,
    PhoneLocked,
    UsbmuxUnavailable,
)
from harness.devices.ios.loop import loop_thread
from harness.devices.ios.options import Way
from harness.virtual.ios import VirtualIphone, virtual_iphones
from tests.devices.ios.conftest import QUICK, Scene
from tests.devices.ios.images import have_images, use_proxy

pytestmark = pytest.mark.emulator


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.fault(what="no iPhone is attached", ends=raises(NoDevice, "no iPhone is attached"), keeps="–")
def test_no_phone(scene: Scene, ends: Ends, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", scene.virtual.usbmux_address)
    scene.virtual.unplug()
    with ends.raised(), opened(parse_device("ios"), cache=cache, notify=print):
        pass


@pytest.mark.fault(
    what="the named iPhone is not attached", ends=raises(NoDevice, "no iPhone 0000 is attached"), keeps="–"
)
def test_a_phone_that_is_not_there(scene: Scene, ends: Ends) -> None:
    notices: list[str] = []
    with ends.raised() as info:
        choose(parse_device("ios:0000"), scene.loop, scene.way, notices.append, wait_seconds=0.3)
    assert scene.virtual.udid in str(info.value)
    assert notices == ["waiting up to 0 s for the iPhone 0000"]


@pytest.mark.fault(what="two iPhones and no UDID", ends=raises(AmbiguousDevice, "2 iPhones are attached"), keeps="–")
def test_two_phones(ends: Ends) -> None:
    with virtual_iphones(VirtualIphone("16"), VirtualIphone("16")) as phones, loop_thread() as loop:
        way = Way(phones[0].usbmux_address)
        with ends.raised() as info:
            choose(Selection("ios"), loop, way, print)
        one, other = (phone.udid for phone in phones)
        assert one in str(info.value)
        assert choose(Selection("ios", "all"), loop, way, print) == [one, other]
        assert choose(Selection("ios", f"{other},{one}"), loop, way, print) == [other, one]
        # People leave out the dash.
        assert choose(Selection("ios", serial=other.replace("-", "")), loop, way, print) == [other]
        several = choose(Selection("ios", f"{one},gone"), loop, way, print, wait_seconds=0.1)
        assert several[0] == one
        assert isinstance(several[1], Unavailable)
        with pytest.raises(UsageError):
            choose(Selection("ios", one, other), loop, way, print)


@pytest.mark.fault(what="usbmuxd does not run", ends=raises(UsbmuxUnavailable, "usbmuxd does not answer"), keeps="–")
def test_no_usbmuxd(ends: Ends, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", f"127.0.0.1:{free_port()}")
    with ends.raised(), opened(parse_device("ios"), cache=cache, notify=print):
        pass
    assert all(check.ok for check in ios_checks())  # who measures no iPhone lacks nothing


@pytest.mark.fault(
    what="the optional package is not installed",
    ends=raises(IosSupportMissing, "pymobiledevice3, which talks to iPhones, is not installed"),
    keeps="–",
)
def test_no_package(ends: Ends, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python itself takes for a package that is not there.
    monkeypatch.setitem(sys.modules, "pymobiledevice3", None)
    with ends.raised() as info, opened(parse_device("ios"), cache=cache, notify=print):
        pass
    assert "ondevice-harness[ios]" in info.value.cure


@pytest.mark.fault(
    what="the owner answers the question for trust after a while",
    ends=complete("it is waited for"),
    keeps="all records",
)
def test_trust_comes_late(stranger: Scene, ends: Ends) -> None:
    stranger.virtual.set(pairing="asks")
    stranger.when_noticed("tap Trust", lambda: stranger.virtual.set(pairing="trusts"))
    ends.check(stranger.run(make_order()))
    assert any("tap Trust" in line for line in stranger.notices)
    assert len(stranger.virtual.pairings()) == 1
    stranger.assert_clean()


@pytest.mark.fault(
    what="nobody answers the question for trust",
    ends=raises(PairingPending, "still asks whether to trust this computer"),
    keeps="–",
)
def test_trust_never_comes(stranger: Scene, ends: Ends) -> None:
    stranger.virtual.set(pairing="asks")
    with ends.raised():
        stranger.open(replace(QUICK, trust_seconds=0.5))
    (phone,) = attached_iphones(stranger.way)
    assert (phone.state, phone.usable) == ("unpaired", True)


@pytest.mark.fault(
    what="the owner does not trust this computer", ends=raises(PairingRefused, "not to trust this computer"), keeps="–"
)
def test_trust_refused(stranger: Scene, ends: Ends) -> None:
    stranger.virtual.set(pairing="refuses")
    with ends.raised():
        stranger.open()


@pytest.mark.fault(what="the phone forgot this computer", ends=complete("it is paired again"), keeps="all records")
def test_trust_forgotten(stranger: Scene, ends: Ends) -> None:
    stranger.open().close()
    for host in stranger.virtual.pairings():
        stranger.virtual.unpair(host)
    ends.check(stranger.run(make_order()))
    stranger.assert_clean()


@pytest.mark.fault(what="the phone is locked when it is to be paired", ends=raises(PhoneLocked, "is locked"), keeps="–")
def test_locked_before_pairing(stranger: Scene, ends: Ends) -> None:
    stranger.virtual.set(locked=True)
    with ends.raised():
        stranger.open()


@pytest.mark.fault(
    what="nobody has unlocked the phone since it booted", ends=raises(PhoneLocked, "is locked"), keeps="–"
)
def test_locked_since_it_booted(scene: Scene, ends: Ends) -> None:
    scene.virtual.set(before_first_unlock=True)
    with ends.raised():
        scene.open()


@pytest.mark.fault(what="Developer Mode is off", ends=raises(DeveloperModeOff, "Developer Mode of"), keeps="–")
def test_developer_mode_off(scene: Scene, ends: Ends) -> None:
    scene.virtual.set(developer_mode=False)
    with ends.raised():
        scene.open()
    (phone,) = attached_iphones(scene.way)
    assert not phone.usable
    assert "Settings" in phone.cure


@pytest.mark.fault(what="the developer disk image is not mounted", ends=complete("it is mounted"), keeps="all records")
@pytest.mark.parametrize(("scene", "kind"), [("16", "Developer"), ("26", "Personalized")], indirect=["scene"])
def test_an_image_that_can_be_mounted(
    scene: Scene, ends: Ends, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From iOS 17 on the tunnel was open before, and did not offer yet what starts apps."""
    have_images(tmp_path, monkeypatch)
    scene.virtual.set(image="missing")
    ends.check(scene.run(make_order()))
    assert f"mount {kind}" in scene.events
    assert any("mounting the developer disk image" in line for line in scene.notices)
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone is locked when the developer disk image is to be mounted",
    ends=raises(PhoneLocked, "mounts no developer disk image"),
    keeps="–",
)
def test_an_image_for_a_locked_phone(scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_images(tmp_path, monkeypatch)
    scene.open().close()  # paired
    scene.virtual.set(image="missing", locked=True)
    with ends.raised():
        scene.open()


@pytest.mark.fault(
    what="the phone is unplugged while the developer disk image is mounted",
    ends=raises(DeviceLost, "was lost while preparing"),
    keeps="–",
)
def test_unplugged_while_the_image_is_mounted(
    scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_images(tmp_path, monkeypatch)
    scene.virtual.set(image="missing")
    # Whether one is mounted is asked twice, in two ways each; then the image is sent.
    scene.virtual.fault("mounter", "unplug", after=4)
    with ends.raised():
        scene.open()
    assert not any(event.startswith("mount") for event in scene.events)


@pytest.mark.fault(
    what="the developer disk image is refused", ends=raises(ImageMissing, "is not mounted on"), keeps="–"
)
def test_an_image_that_is_refused(scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_images(tmp_path, monkeypatch)
    scene.virtual.set(image="unmountable")
    with ends.raised() as info:
        scene.open()
    assert "Failed to verify" in str(info.value)


@pytest.mark.fault(
    what="the developer disk image cannot be downloaded", ends=raises(ImageMissing, "and cannot be"), keeps="–"
)
def test_an_image_that_cannot_be_had(scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "_HOMEFOLDER", tmp_path)
    use_proxy(monkeypatch, free_port())
    scene.virtual.set(image="missing")
    with ends.raised():
        scene.open()


@pytest.mark.fault(
    what="the phone answers nothing when it is opened", ends=raises(DeviceLost, "was lost while opening"), keeps="–"
)
def test_a_phone_that_hangs_up(scene: Scene, ends: Ends) -> None:
    scene.virtual.fault("lockdown.session", "close", times=None)
    with ends.raised():
        scene.open()


def test_a_launcher_that_this_ios_has_not(scene: Scene) -> None:
    with pytest.raises(UsageError, match="appservice needs iOS 17"):
        scene.open(replace(QUICK, launcher="appservice"))


def test_words_that_name_no_phone(cache: Cache) -> None:
    with pytest.raises(UnknownDevice), opened(parse_device("virtual-ios:15"), cache=cache, notify=print):
        pass
    with pytest.raises(UsageError, match="--serial is for phones"):
        parse_device("virtual-ios", serial="X")
    with pytest.raises(UsageError, match="telepathy"):
        parse_device("ios", ios_launcher="telepathy")


def test_attached_phones_are_reported(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene.open().reserve():
        (held,) = attached_iphones(scene.way, lock_folder=scene.locks)
    assert (held.held_by or "").startswith("process")
    (phone,) = attached_iphones(scene.way, lock_folder=scene.locks)
    assert phone.held_by is None
    assert (phone.serial, phone.connection, phone.ios_version) == (
        scene.virtual.udid,
        "USB",
        scene.virtual.os_version,
    )
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", scene.virtual.usbmux_address)
    checks = {check.name: check for check in ios_checks()}
    assert checks["usbmuxd"].found == "1 iPhones"
    assert checks[f"iPhone {scene.virtual.udid}"].ok


def test_calls_have_a_deadline(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    device = scene.open()
    monkeypatch.setattr("harness.devices.ios.device.ASK_SECONDS", 0.5)
    scene.virtual.fault("diagnostics", "hang")
    assert "gave no answer within 0.5 s" in device.conditions()["unavailable"]
