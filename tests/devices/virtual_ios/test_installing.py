"""Apps are installed, upgraded and removed, and refused for a phone's reasons under a phone's names."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pymobiledevice3.exceptions import AppInstallError

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual_ios.app import BUNDLE_ID, X86_64, TinyApp, make_executable
from tests.devices.virtual_ios.client import Client

pytestmark = pytest.mark.emulator


@pytest.fixture(params=["16"])
def ios_version(request: pytest.FixtureRequest) -> str:
    """The installer is the same on both."""
    return str(request.param)


def tampered() -> bytes:
    executable = bytearray(make_executable())
    executable[2000] ^= 1
    return bytes(executable)


REFUSED: dict[str, tuple[Callable[[TinyApp], TinyApp], str]] = {
    "another processor": (
        lambda app: app.with_(executable=make_executable(cpu=X86_64)),
        "IncorrectArchitecture: .*processor 0x1000007",
    ),
    "no Mach-O": (lambda app: app.with_(executable=b"#!/bin/sh\n"), "IncorrectArchitecture: .*no 64-bit Mach-O"),
    "the simulator's": (
        lambda app: app.with_(executable=make_executable(platform=7)),
        "IncorrectArchitecture: .*built for the simulator",
    ),
    "a newer system": (lambda app: app.with_(minimum_os="26.0"), "DeviceOSVersionTooLow: .*have 16.7.2; need 26.0"),
    "an executable for a newer system": (
        lambda app: app.with_(executable=make_executable(minimum_os=(18, 0))),
        "DeviceOSVersionTooLow: .*need 18.0.0",
    ),
    "not signed": (
        lambda app: app.with_(executable=make_executable(signed=False)),
        "ApplicationVerificationFailed: .*0xe800801c",
    ),
    "changed after signing": (
        lambda app: app.with_(executable=tampered()),
        "ApplicationVerificationFailed: .*0xe8008014",
    ),
    "no profile": (lambda app: app.with_(udids=None), "ApplicationVerificationFailed: .*0xe8008015"),
    "another phone's profile": (
        lambda app: app.with_(udids=("00008110-000000000000AAAA",)),
        "ApplicationVerificationFailed: .*0xe8008012",
    ),
    "an expired profile": (
        lambda app: app.with_(expires=datetime.now(timezone.utc) - timedelta(minutes=1)),
        "ApplicationVerificationFailed: .*0xe8008011",
    ),
    "another app's profile": (
        lambda app: app.with_(
            extra={
                "embedded.mobileprovision": b'<?xml version="1.0"?><plist><dict><key>ExpirationDate</key>'
                b"<date>2100-01-01T00:00:00Z</date><key>ProvisionsAllDevices</key><true/><key>Entitlements</key><dict>"
                b"<key>application-identifier</key><string>TEAM.another</string></dict></dict></plist>"
            },
            udids=None,
        ),
        "ApplicationVerificationFailed: .*0xe8008015",
    ),
    "iPads only": (lambda app: app.with_(info={"UIDeviceFamily": [2]}), "DeviceFamilyNotSupported"),
    "no name": (lambda app: app.with_(info={"CFBundleIdentifier": ""}), "MissingBundleIdentifier"),
    "no version": (lambda app: app.with_(info={"CFBundleVersion": ""}), "MissingBundleVersion"),
    "no executable": (lambda app: app.with_(info={"CFBundleExecutable": "Nothing"}), "MissingBundleExecutable"),
    "an executable elsewhere": (
        lambda app: app.with_(info={"CFBundleExecutable": "companion/runner"}),
        "MissingBundleExecutable",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_an_app_is_refused_and_leaves_nothing(
    why: str, client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    change, message = REFUSED[why]
    with pytest.raises(AppInstallError, match=message):
        client.install(change(app).write(tmp_path / "refused.ipa"))
    assert phone.apps() == {}
    left = [path for path in phone.media().rglob("*") if path.is_file()]
    assert left == [], "the client or the installer left the package behind"


def test_packages_that_are_none_are_refused(client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ipa"
    broken.write_bytes(app.write(tmp_path / "whole.ipa").read_bytes()[:-200])
    with pytest.raises(AppInstallError, match="PackageExtractionFailed"):
        client.install(broken)
    for name, mode, message in (
        ("Payload/../../../escaped", stat.S_IFREG, "PackageExtractionFailed: .*outside"),
        ("Payload/Tiny.app/link", stat.S_IFLNK, "InvalidSymlink"),
    ):
        bad = app.write(tmp_path / "bad.ipa")
        with zipfile.ZipFile(bad, "a") as packed:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (mode | 0o644) << 16
            packed.writestr(entry, b"/etc/passwd")
        with pytest.raises(AppInstallError, match=message):
            client.install(bad)
    assert phone.apps() == {}


def test_no_room_for_the_app(client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path) -> None:
    ipa = app.with_(extra={"big": bytes(2 << 20)}).write(tmp_path / "big.ipa")
    # The package fits on the phone, and its contents do not fit beside it.
    phone.set(space_bytes=3 << 20)
    with pytest.raises(AppInstallError, match="NoSpace"):
        client.install(ipa)
    phone.set(space_bytes=8 << 20)
    client.install(ipa)
    assert BUNDLE_ID in phone.apps()


def test_an_upgrade_keeps_the_data_and_another_teams_is_refused(
    client: Client, app: TinyApp, installed: str, phone: VirtualIphone, tmp_path: Path
) -> None:
    client.push("/Documents/kept", b"kept")
    before = phone.apps()[installed]
    client.install(app.with_(version="2").write(tmp_path / "two.ipa"))
    after = phone.apps()[installed]
    assert (before["version"], after["version"]) == ("1", "2")
    assert client.pull("/Documents/kept") == b"kept"
    assert not before["bundle"].exists()
    with pytest.raises(AppInstallError, match="MismatchedApplicationIdentifierEntitlement"):
        client.install(app.with_(team="ANOTHER999", version="3").write(tmp_path / "three.ipa"))
    assert phone.apps()[installed] == after


def test_uninstalling_removes_the_data_and_may_be_done_twice(
    client: Client, installed: str, phone: VirtualIphone
) -> None:
    found = phone.apps()[installed]
    client.push("/Documents/gone", b"gone")
    client.uninstall()
    client.uninstall()
    assert not found["bundle"].exists()
    assert not found["container"].exists()
    assert phone.events().count(f"uninstall {installed}") == phone.events().count(f"install {installed}")
