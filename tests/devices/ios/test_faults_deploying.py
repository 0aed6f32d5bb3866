"""Faults while the app is brought onto the phone."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, raises
from harness.core.cache import Cache
from harness.devices.errors import CommandTimeout, DeviceFull, DeviceLost, RunnerUnusable
from harness.devices.ios.errors import DeveloperNotTrusted, ImageMissing, InstallRefused, PhoneLocked
from harness.devices.ios.options import LauncherName
from harness.native.ios import SigningCommand, pack_app, unpack_app
from harness.native.ios.certificate import read_certificate
from harness.native.ios.errors import (
    AppNotSigned,
    BundleIdMismatch,
    DeviceNotInProfile,
    ProfileExpired,
    ProfileMissing,
    SigningFailed,
    WrongPlatform,
)
from harness.native.ios.rcodesign import find_rcodesign
from tests.devices.ios.apps import BUNDLE_ID, EXECUTABLE, SIMULATOR, X86_64, Flaws
from tests.devices.ios.conftest import QUICK, Scene, with_launcher
from tests.native.apple import program, quiet
from tests.native.certificates import PASSWORD, issue

pytestmark = pytest.mark.emulator

STARTS = [("16", "dvt"), ("26", "appservice"), ("26", "debugserver")]


@pytest.mark.fault(
    what="the phone is unplugged while it installs", ends=raises(DeviceLost, "was lost while installing"), keeps="–"
)
def test_unplugged_during_the_installation(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    scene.virtual.fault("install.half", "unplug")
    with ends.raised():
        device.run(scene.app(), make_order())
    scene.virtual.plug()
    assert device.run(scene.app(), make_order()).complete
    scene.assert_clean()


@pytest.mark.fault(what="no space for the order", ends=raises(DeviceFull, "for sending the order"), keeps="–")
def test_no_space_for_the_order(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    device.deploy(scene.app())
    scene.virtual.set(space_bytes=1)
    with ends.raised():
        device.run(scene.app(), make_order())
    scene.assert_clean()


REFUSALS = {
    "NoSpace": ("space for the app's file, none to install it", raises(DeviceFull, "no room on")),
    "ApplicationVerificationFailed": (
        "the phone refuses the app",
        raises(InstallRefused, "ApplicationVerificationFailed"),
    ),
}


def refused(error: str) -> pytest.MarkDecorator:
    what, ends = REFUSALS[error]
    return pytest.mark.fault(what=what, ends=ends, keeps="–")


@pytest.mark.parametrize("error", [pytest.param(error, marks=refused(error)) for error in REFUSALS])
def test_refused_by_the_phone(scene: Scene, ends: Ends, error: str) -> None:
    device = scene.open()
    scene.virtual.fault("install.half", "refuse", error=error)
    with ends.raised():
        device.run(scene.app(), make_order())
    scene.assert_clean()


@pytest.mark.fault(
    what="another's app has the bundle id", ends=raises(InstallRefused, "that is not the harness's"), keeps="–"
)
def test_anothers_app(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed without the stamp that ours carry."""
    with monkeypatch.context() as patched:
        patched.setattr("harness.devices.ios.bundle.BUILD_KEY", "SomethingElse")
        scene.open(replace(QUICK, keep_app=True)).deploy(scene.app(flaws=Flaws(executable="Theirs")))
    device = scene.open()
    with ends.raised() as info:
        device.run(scene.app(), make_order())
    assert "--ios-bundle-id" in info.value.cure
    device.close()
    assert list(scene.virtual.apps()) == [BUNDLE_ID]  # and it stays theirs
    scene.remove(BUNDLE_ID)


FLAWS: dict[str, tuple[Flaws, Ends]] = {
    "is for another processor": (Flaws(processor=X86_64), raises(WrongPlatform, "not for an iPhone")),
    "is for the simulator": (Flaws(platform=SIMULATOR), raises(WrongPlatform, "the simulator")),
    "needs a newer iOS": (Flaws(minimum="26.0"), raises(RunnerUnusable, "needs iOS 26.0")),
    "is not signed": (Flaws(signed=False), raises(AppNotSigned, "no code signature")),
    "has no profile": (Flaws(profile=False), raises(ProfileMissing, "embedded.mobileprovision")),
    "has an expired profile": (Flaws(expired=True), raises(ProfileExpired, "expired on 2001-01-01")),
    "has a profile for other phones": (Flaws(profile_for="0000"), raises(DeviceNotInProfile, "is none of them")),
    "has a profile for another app": (Flaws(profile_app="com.example"), raises(BundleIdMismatch, "com.example")),
}


def flawed(case: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(what=f"the app {case}", ends=FLAWS[case][1], keeps="–")


@pytest.mark.parametrize("case", [pytest.param(case, marks=flawed(case)) for case in FLAWS])
def test_an_app_that_no_phone_would_take(scene: Scene, ends: Ends, case: str) -> None:
    device = scene.open()
    with ends.raised():
        device.run(scene.app(flaws=FLAWS[case][0]), make_order())
    assert not any(event.startswith(("install", "refuse")) for event in scene.events)
    scene.assert_clean()


@pytest.mark.fault(what="the sign command fails", ends=raises(SigningFailed, "no identity found"), keeps="–")
def test_signing_fails(scene: Scene, ends: Ends) -> None:
    script = "import sys; sys.exit('no identity found in ' + sys.argv[1])"
    device = scene.open(replace(QUICK, signing=SigningCommand(shlex.join([sys.executable, "-c", script]))))
    with ends.raised():
        device.run(scene.app(), make_order())
    scene.assert_clean()


@pytest.mark.fault(
    what="the sign command makes an app that lacked a profile whole",
    ends=complete("it is signed on the way to the phone"),
    keeps="all records",
)
def test_signing_mends(scene: Scene, ends: Ends, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.virtual.ios.sign", "--udid", scene.virtual.udid, "{}"]
    device = scene.open(replace(QUICK, signing=SigningCommand(shlex.join(command))))
    ends.check(device.run(scene.app(flaws=Flaws(profile=False)), make_order()))
    scene.assert_clean()


@pytest.mark.thorough
@pytest.mark.fault(
    what="a certificate and a profile make an app that lacked a profile whole",
    ends=complete("it is signed on the way to the phone"),
    keeps="all records",
)
def test_a_certificate_signs(scene: Scene, ends: Ends, user_cache: Cache, tmp_path: Path) -> None:
    mine = issue(tmp_path / "mine", ProvisionedDevices=[scene.virtual.udid])
    signer = find_rcodesign(user_cache, quiet)
    device = scene.open(replace(QUICK, signing=read_certificate(mine.p12, PASSWORD, mine.profile, signer)))
    # A whole program of the linker's in the place of a head alone, which rcodesign would not sign.
    app = unpack_app(scene.app(flaws=Flaws(profile=False)), tmp_path / "unpacked")
    shutil.copy(program(tmp_path, "device", user_cache), app / EXECUTABLE)
    pack_app(app, tmp_path / "whole.ipa")
    ends.check(device.run(tmp_path / "whole.ipa", make_order()))
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone is locked when the app is to be started", ends=raises(PhoneLocked, "is locked"), keeps="–"
)
@pytest.mark.parametrize(("scene", "launcher"), STARTS, indirect=["scene"])
def test_locked(scene: Scene, ends: Ends, launcher: LauncherName) -> None:
    device = scene.open(with_launcher(launcher))
    scene.virtual.set(locked=True)
    with ends.raised():
        device.run(scene.app(), make_order())
    assert scene.documents() == []
    scene.assert_clean()


@pytest.mark.fault(
    what="the owner has not trusted the app's developer",
    ends=raises(DeveloperNotTrusted, "has not been explicitly trusted by the user"),
    keeps="–",
)
@pytest.mark.parametrize("scene", ["16", "26"], indirect=True)
def test_developer_not_trusted(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    scene.virtual.set(trusts_developer=False)
    with ends.raised() as info:
        device.run(scene.app(), make_order())
    assert "VPN & Device Management" in info.value.cure
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone does not answer the launch", ends=raises(CommandTimeout, "launching the app on"), keeps="–"
)
def test_launch_hangs(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.ios.job.LAUNCH_SECONDS", 0.5)
    device = scene.open()
    scene.virtual.fault("dvt.launch", "hang")
    with ends.raised():
        device.run(scene.app(), make_order())
    scene.assert_clean()


@pytest.mark.fault(what="the phone refuses to be kept awake", ends=complete("the knob records it"), keeps="all records")
def test_not_kept_awake(scene: Scene, ends: Ends) -> None:
    scene.virtual.fault("start:com.apple.mobile.assertion_agent", "refuse", error="InvalidService")
    result = scene.run(make_order())
    ends.check(result)
    (knob,) = result.knobs
    assert (knob.name, knob.state, knob.restored) == ("stay_awake", "unsupported", None)


@pytest.mark.fault(
    what="the developer disk image was unmounted since the phone was opened",
    ends=raises(ImageMissing, "lacks the service that starts apps"),
    keeps="–",
)
def test_unmounted_since(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    scene.virtual.set(image="missing")
    with ends.raised():
        device.run(scene.app(), make_order())
    scene.assert_clean()
