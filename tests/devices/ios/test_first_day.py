"""The most frequent failures of a first day with an iPhone end in the right error with the right cure.

docs/ios.md counts public reports of them (The first day), and has each cure word for word.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, raises
from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.devices import opened, parse_device
from harness.devices.ios.errors import (
    DeveloperModeOff,
    DeveloperNotTrusted,
    ImageMissing,
    ImageTooOld,
    InstallRefused,
    PairingPending,
    PairingRefused,
    PhoneLocked,
    TunnelMissing,
    UsbmuxUnavailable,
)
from harness.devices.ios.explained import INSTALL_CURES, NO_PERMISSION, explained
from harness.devices.ios.options import LauncherName
from harness.virtual.ios import VirtualIphone
from tests.devices.ios.conftest import QUICK, Scene, with_launcher
from tests.devices.ios.images import NOT_ELIGIBLE, SIGNED, answering, have_images, use_proxy
from tests.devices.ios.test_faults_attached import free_port

pytestmark = pytest.mark.emulator

PAGE = (Path(__file__).parents[3] / "docs/ios.md").read_text(encoding="utf-8")
ON_26 = pytest.mark.parametrize("scene", ["26"], indirect=True)


def in_the_page(cure: str) -> bool:
    """Whether the page has a cure, word for word; which Python is root's to start differs between machines."""
    return cure.replace(sys.executable, "PYTHON") in PAGE


def never_signed(scene: Scene) -> None:
    scene.virtual.set(image="missing", image_signed=False)


def board(virtual: VirtualIphone) -> tuple[int, int]:
    return virtual.identity.chip_id, virtual.identity.board_id


def test_the_counts_are_those_of_the_threads() -> None:
    reports = (Path(__file__).parents[3] / "docs/ios-reports.md").read_text(encoding="utf-8")
    table = PAGE.partition("| Threads |")[2]
    listed = [row.count("#") for row in reports.splitlines() if row.startswith("| ") and "#" in row]
    assert listed == [int(number) for number in re.findall(r"^\|[^|]*\| (\d+) \|", table, re.MULTILINE)]
    assert listed == sorted(listed, reverse=True)


@ON_26
@pytest.mark.fault(
    what="the developer disk image is there and Apple cannot be asked to sign it for this phone",
    ends=raises(ImageMissing, "and cannot be"),
    keeps="–",
)
def test_no_internet_for_the_signature(
    scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_images(tmp_path, monkeypatch, boards=(board(scene.virtual),))
    use_proxy(monkeypatch, free_port())
    never_signed(scene)
    with ends.raised() as info:
        scene.open()
    assert info.value.cure == ImageMissing.cure
    assert in_the_page(ImageMissing.cure)


@ON_26
@pytest.mark.fault(
    what="the developer disk image is mounted for the first time, and Apple signs it",
    ends=complete("it is mounted"),
    keeps="all records",
)
def test_a_first_signature(scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_images(tmp_path, monkeypatch, boards=(board(scene.virtual),))
    never_signed(scene)
    with answering(SIGNED) as (port, asked):
        use_proxy(monkeypatch, port)
        ends.check(scene.run(make_order()))
    assert [one["ApECID"] for one in asked] == [scene.virtual.identity.ecid]
    assert "mount Personalized" in scene.events
    scene.assert_clean()


@ON_26
@pytest.mark.fault(
    what="the developer disk image is older than the phone",
    ends=raises(ImageTooOld, "has no entry for this device"),
    keeps="–",
)
def test_a_phone_that_the_image_does_not_know(
    scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_images(tmp_path, monkeypatch, boards=((0x8110, 0x18),))
    never_signed(scene)
    with ends.raised() as info:
        scene.open()
    assert in_the_page(info.value.cure)


@ON_26
@pytest.mark.fault(
    what="Apple does not sign the developer disk image for the phone",
    ends=raises(ImageTooOld, "This device isn't eligible for the requested build"),
    keeps="–",
)
def test_an_image_that_apple_does_not_sign(
    scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_images(tmp_path, monkeypatch, boards=(board(scene.virtual),))
    never_signed(scene)
    with answering(NOT_ELIGIBLE) as (port, _), ends.raised():
        use_proxy(monkeypatch, port)
        scene.open()


@ON_26
@pytest.mark.fault(
    what="a portal of the network answers instead of Apple's signing service",
    ends=raises(ImageMissing, "and cannot be"),
    keeps="–",
)
def test_a_portal_that_answers_for_apple(
    scene: Scene, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_images(tmp_path, monkeypatch, boards=(board(scene.virtual),))
    never_signed(scene)
    with answering(b"<html>Please log in</html>") as (port, _), ends.raised():
        use_proxy(monkeypatch, port)
        scene.open()


VERIFY = "ApplicationVerificationFailed: Failed to verify code signature of /var/installd/X.app : "
REFUSALS = {
    "0xe8008012": VERIFY + "0xe8008012 (This provisioning profile cannot be installed on this device.)",
    "0xe8008015": VERIFY + "0xe8008015 (A valid provisioning profile for this executable was not found.)",
    "0xe8008018": VERIFY + "0xe8008018 (The identity used to sign the executable is no longer valid.)",
    "0xe80080": VERIFY + "0xe8008016 (The executable was signed with invalid entitlements.)",
    "MismatchedApplicationIdentifierEntitlement": "MismatchedApplicationIdentifierEntitlement: rejecting upgrade.",
    "maximum number of apps": "ApplicationVerificationFailed: This device has reached the maximum number of apps for "
    "free development profiles",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_signature_that_the_phone_does_not_accept(scene: Scene, kind: str) -> None:
    """What this computer can see is refused before the app is sent: test_faults_deploying.py."""
    device = scene.open()
    scene.virtual.fault("install.half", "refuse", error=REFUSALS[kind])
    with pytest.raises(InstallRefused) as info:
        device.run(scene.app(), make_order())
    assert info.value.cure == INSTALL_CURES[kind]
    assert in_the_page(info.value.cure)
    assert scene.virtual.udid in str(info.value)
    scene.assert_clean()


def test_each_refusal_with_a_cure_is_tried() -> None:
    assert REFUSALS.keys() == INSTALL_CURES.keys()
    unknown = explained(_install_error("SomethingNew: nobody knows"), "installing the app", "iPhone X")
    assert (type(unknown), unknown.cure) == (InstallRefused, InstallRefused.cure)


def _install_error(words: str) -> Exception:
    from pymobiledevice3.exceptions import AppInstallError

    return AppInstallError(words)


@ON_26
def test_developer_mode_is_off(scene: Scene) -> None:
    scene.open().close()
    scene.virtual.set(developer_mode=False)
    with pytest.raises(DeveloperModeOff) as info:
        scene.open()
    assert info.value.cure == DeveloperModeOff.cure
    assert in_the_page(info.value.cure)
    # The settings show the switch only after a developer's computer asked for it.
    assert scene.events[-1] == "reveal developer mode"


def test_developer_mode_is_off_on_a_phone_that_does_not_show_its_switch(scene: Scene) -> None:
    scene.virtual.set(developer_mode=False)
    scene.virtual.fault("start:com.apple.amfi.lockdown", "refuse", error="InvalidService")
    with pytest.raises(DeveloperModeOff):
        scene.open()


@pytest.mark.parametrize(("answer", "error"), [("asks", PairingPending), ("refuses", PairingRefused)])
def test_the_computer_is_not_trusted(stranger: Scene, answer: str, error: type[HarnessError]) -> None:
    stranger.virtual.set(pairing=answer)
    with pytest.raises(error) as info:
        stranger.open(replace(QUICK, trust_seconds=0.3))
    assert info.value.cure == error.cure
    assert in_the_page(info.value.cure)


def test_usbmuxd_does_not_run(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(UsbmuxUnavailable) as info, opened(parse_device("ios"), cache=cache, notify=print):
        pass
    assert info.value.cure == UsbmuxUnavailable.cure
    assert in_the_page(info.value.cure)


def test_usbmuxd_may_not_be_used() -> None:
    """Nothing is forbidden to root, as whom tests may run: the error is the one that connecting raises to others."""
    error = explained(PermissionError(13, "Permission denied"), "listing the phones", "usbmuxd")
    assert (type(error), error.cure) == (UsbmuxUnavailable, NO_PERMISSION)
    assert "Permission denied" in str(error)
    assert in_the_page(error.cure)


@ON_26
@pytest.mark.parametrize(
    ("launcher", "words"),
    [("appservice", "has not been explicitly trusted by the user"), ("debugserver", "Security")],
)
def test_the_developer_is_not_trusted(scene: Scene, launcher: LauncherName, words: str) -> None:
    device = scene.open(with_launcher(launcher))
    scene.virtual.set(trusts_developer=False)
    with pytest.raises(DeveloperNotTrusted, match=words) as info:
        device.run(scene.app(), make_order())
    assert in_the_page(info.value.cure)
    scene.assert_clean()


@ON_26
def test_there_is_no_tunnel(scene: Scene) -> None:
    with pytest.raises(TunnelMissing) as info:
        scene.open(way=replace(scene.way, tunneld=("127.0.0.1", free_port())))
    assert info.value.cure == TunnelMissing.cure
    assert in_the_page(info.value.cure)


@ON_26
def test_the_phone_is_locked(scene: Scene) -> None:
    device = scene.open()
    scene.virtual.set(locked=True)
    with pytest.raises(PhoneLocked) as info:
        device.run(scene.app(), make_order())
    assert info.value.cure == PhoneLocked.cure
    assert in_the_page(info.value.cure)
    scene.assert_clean()
