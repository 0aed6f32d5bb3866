"""Bundles on their way to a phone: unpacked, signed by the user's command, checked before a phone refuses them."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7SignatureBuilder

from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError
from harness.native.ios import AppOptions, build_app, check_app, pack_app, read_profile, sign_app, unpack_app
from harness.native.ios.errors import (
    AppNotSigned,
    BadBundleId,
    BadSignCommand,
    BundleIdMismatch,
    DeviceNotInProfile,
    NotAnApp,
    ProfileExpired,
    ProfileMissing,
    ProfileUnreadable,
    SigningFailed,
    WrongPlatform,
)
from harness.native.ios.signing import sign_command
from tests.native.apple import program

UDID = "00008110-000A1B2C3D4E801E"
NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
PROFILE: dict[str, Any] = {
    "Name": "Bench",
    "ExpirationDate": datetime(2026, 6, 2, 12),
    "ProvisionedDevices": ["00008020-001122334455AABB", UDID],
    "Entitlements": {"application-identifier": "TEAM123456.dev.harness.runner"},
}


@pytest.fixture(scope="module")
def binary(user_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("program"), "device", user_cache)


@pytest.fixture
def app(binary: Path, tmp_path: Path) -> Path:
    return build_app(binary, tmp_path)


@pytest.fixture(scope="module")
def sign_message() -> Callable[[bytes], bytes]:
    """A CMS message around some content, as Apple's are: DER, the content inside."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A test's own authority")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW.replace(tzinfo=None))
        .not_valid_after((NOW + timedelta(days=1)).replace(tzinfo=None))
        .sign(key, SHA256())
    )

    def sign(content: bytes) -> bytes:
        builder = PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, SHA256())
        return builder.sign(Encoding.DER, [])

    return sign


@pytest.fixture
def provide(app: Path, sign_message: Callable[[bytes], bytes]) -> Callable[..., None]:
    """Puts a profile into the app's bundle, with some of its values replaced."""

    def write(**changes: Any) -> None:
        profile = {key: value for key, value in (PROFILE | changes).items() if value is not None}
        message = sign_message(plistlib.dumps(profile))
        assert message[:1] == b"\x30", "DER"
        (app / "embedded.mobileprovision").write_bytes(message)

    return write


def refused(error: type[HarnessError], match: str, app: Path, udid: str = UDID, bundle_id: str | None = None) -> None:
    with pytest.raises(error, match=match) as caught:
        check_app(app, udid, bundle_id, now=NOW)
    assert caught.value.cure
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE


def test_an_app_with_its_profile_passes(app: Path, provide: Callable[..., None]) -> None:
    provide()
    profile = check_app(app, UDID, "dev.harness.runner", now=NOW)
    assert (profile.name, profile.app_id) == ("Bench", "TEAM123456.dev.harness.runner")
    assert profile.expires == datetime(2026, 6, 2, 12, tzinfo=timezone.utc)
    assert check_app(app, UDID.lower().replace("-", ""), now=NOW) == profile


@pytest.mark.parametrize("app_id", ["TEAM123456.*", "TEAM123456.dev.harness.*"])
def test_a_wildcard_covers_the_app(app: Path, provide: Callable[..., None], app_id: str) -> None:
    provide(Entitlements={"application-identifier": app_id})
    check_app(app, UDID, now=NOW)


def test_an_enterprise_profile_covers_every_device(app: Path, provide: Callable[..., None]) -> None:
    provide(ProvisionsAllDevices=True, ProvisionedDevices=None)
    assert check_app(app, "any", now=NOW).devices is None


def test_a_bundle_without_a_profile_is_reported(app: Path) -> None:
    refused(ProfileMissing, "holds no embedded.mobileprovision", app)


def test_a_profile_that_is_over_is_reported_with_its_day(app: Path, provide: Callable[..., None]) -> None:
    provide(ExpirationDate=NOW.replace(tzinfo=None))
    refused(ProfileExpired, "'Bench' expired on 2026-06-01 12:00 UTC", app)


@pytest.mark.parametrize("devices", [["00008020-001122334455AABB"], [], None])
def test_a_device_that_no_profile_lists_is_named(
    app: Path, provide: Callable[..., None], devices: list[str] | None
) -> None:
    provide(ProvisionedDevices=devices)
    refused(DeviceNotInProfile, f"lists {len(devices or [])} devices, {UDID} is none", app)


def test_a_profile_of_another_app_is_reported(app: Path, provide: Callable[..., None]) -> None:
    provide(Entitlements={"application-identifier": "TEAM123456.com.example.other"})
    refused(BundleIdMismatch, r"for TEAM123456.com.example.other, the app is dev.harness.runner", app)
    provide()
    refused(BundleIdMismatch, "is dev.harness.runner, not com.example.mine", app, bundle_id="com.example.mine")


def test_an_unsigned_app_is_reported(user_cache: Cache, tmp_path: Path) -> None:
    app = build_app(program(tmp_path, "device", user_cache, signed=False), tmp_path)
    refused(AppNotSigned, "carries no code signature", app)


def test_an_app_for_the_simulator_is_reported(user_cache: Cache, tmp_path: Path) -> None:
    app = build_app(program(tmp_path, "simulator", user_cache), tmp_path)
    refused(WrongPlatform, "is for the simulator on ARM64", app)


def test_a_program_of_this_machines_is_no_iphones(app: Path) -> None:
    shutil.copyfile(sys.executable, app / "HarnessRunner")
    refused(WrongPlatform, "Mach-O|is for", app)


def broken_plist(sign: Callable[[bytes], bytes]) -> bytes:
    return sign(b"<?xml version='1.0'?><plist><dict><key></plist>")


@pytest.mark.parametrize(
    "content",
    [
        lambda _sign: b"",
        lambda _sign: b"\x30\x82garbage",
        broken_plist,
        lambda sign: sign(plistlib.dumps({"Name": "no more than a name"})),
        lambda sign: sign(plistlib.dumps(["not", "a", "dictionary"])),
        lambda sign: sign(plistlib.dumps(PROFILE | {"ExpirationDate": "tomorrow"})),
        lambda sign: sign(plistlib.dumps(PROFILE))[:300],
    ],
)
def test_what_is_no_profile_is_unreadable(
    app: Path, sign_message: Callable[[bytes], bytes], content: Callable[[Any], bytes]
) -> None:
    (app / "embedded.mobileprovision").write_bytes(content(sign_message))
    refused(ProfileUnreadable, "is no provisioning profile", app)
    shutil.rmtree(app)
    with pytest.raises(ProfileMissing):
        read_profile(app)


SIGNER = """#!/usr/bin/env python3
import sys
from pathlib import Path
Path(sys.argv[0] + ".asked").write_text("\\n".join(sys.argv[1:]))
(Path(sys.argv[-1]) / "signed").write_text("by a test")
"""


@pytest.fixture
def signer(tmp_path: Path) -> Path:
    """A program that writes down its arguments and signs, in a folder whose name a shell would stumble over."""
    folder = tmp_path / "a b;touch x"
    folder.mkdir()
    (folder / "sign").write_text(SIGNER)
    (folder / "sign").chmod(0o755)
    return folder / "sign"


def asked(signer: Path) -> list[str]:
    return Path(f"{signer}.asked").read_text().splitlines()


def test_the_users_command_signs_the_bundle_that_is_put_last(app: Path, signer: Path) -> None:
    sign_app(app, f"'{signer}' --force --sign 'Apple Development: A B (ID)'")
    assert asked(signer) == ["--force", "--sign", "Apple Development: A B (ID)", str(app)]
    assert (app / "signed").is_file()


def test_the_bundles_place_in_the_command_can_be_chosen(app: Path, signer: Path) -> None:
    sign_app(app, f"'{signer}' --file={{}}/Info.plist {{}}")
    assert asked(signer) == [f"--file={app}/Info.plist", str(app)]


def test_no_shell_reads_the_bundles_path(binary: Path, signer: Path, tmp_path: Path) -> None:
    evil = tmp_path / "$(touch pwned); `touch pwned` & 'x"
    app = build_app(binary, evil)
    sign_app(app, f"'{signer}' $HOME {{}}")
    assert asked(signer) == ["$HOME", str(app)], "nothing is expanded, either"
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("command", ["", "   ", "codesign 'Apple Dev"])
def test_what_is_no_command_is_wrong_usage(app: Path, command: str) -> None:
    with pytest.raises(BadSignCommand) as caught:
        sign_command(app, command)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "{}" in caught.value.cure


def test_a_command_that_fails_is_reported_with_its_output(app: Path) -> None:
    with pytest.raises(SigningFailed, match=r"(?s)status 7.*no identity found"):
        sign_app(app, "sh -c 'echo no identity found >&2; exit 7'")
    with pytest.raises(SigningFailed, match="no-such-program cannot be started"):
        sign_app(app, "no-such-program")


def test_a_command_that_hangs_is_ended(app: Path, tmp_path: Path) -> None:
    with pytest.raises(SigningFailed, match="did not end within"):
        sign_app(app, f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600'", deadline=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_app_comes_back_from_its_file_as_it_was(app: Path, tmp_path: Path) -> None:
    (app / "companion").mkdir()
    (app / "companion/runner").write_text("#!/bin/sh\n")
    (app / "companion/runner").chmod(0o755)
    (app / "empty").mkdir()
    pack_app(app, tmp_path / "a.ipa")
    back = unpack_app(tmp_path / "a.ipa", tmp_path / "out")
    before, after = (
        {path.relative_to(root): path for path in root.rglob("*") if path.is_file()} for root in (app, back)
    )
    assert before.keys() == after.keys()
    for name, path in before.items():
        assert path.read_bytes() == after[name].read_bytes()
        assert bool(path.stat().st_mode & stat.S_IXUSR) == bool(after[name].stat().st_mode & stat.S_IXUSR), name
    assert sorted(path.name for path in tmp_path.glob(".*")) == [], "nothing half written stays"


def write_zip(path: Path, entries: dict[str, bytes], mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, data)
    return path


PLIST = {"Payload/X.app/Info.plist": b"x"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "0 bundles"),
        ({"Payload/X.app/a": b"", "Payload/Y.app/a": b""}, "2 bundles"),
        ({"Payload/X/Info.plist": b""}, "1 bundles"),
        ({"Payload/X.app/a": b""}, "no Info.plist"),
        (PLIST | {"Payload/X.app/../../../evil": b""}, "does not stay"),
        (PLIST | {"/evil": b""}, "does not stay"),
        (PLIST | {"..\\evil": b""}, "does not stay"),
    ],
)
def test_what_is_no_app_is_reported_and_writes_nowhere_else(
    tmp_path: Path, entries: dict[str, bytes], message: str
) -> None:
    ipa = write_zip(tmp_path / "a.ipa", entries)
    folder = tmp_path / "deep/er/out"
    with pytest.raises(NotAnApp, match=message):
        unpack_app(ipa, folder)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents]
    assert outside == [ipa]


def test_links_and_damaged_files_are_refused(tmp_path: Path) -> None:
    link = write_zip(tmp_path / "link.ipa", PLIST | {"Payload/X.app/l": b"/etc"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(NotAnApp, match="does not stay"):
        unpack_app(link, tmp_path / "out")
    (tmp_path / "cut.ipa").write_bytes(link.read_bytes()[:40])
    with pytest.raises(NotAnApp, match="cannot be unpacked"):
        unpack_app(tmp_path / "cut.ipa", tmp_path / "out")
    with pytest.raises(NotAnApp, match="cannot be unpacked"):
        unpack_app(tmp_path / "none.ipa", tmp_path / "out")


@pytest.mark.parametrize(
    "bundle_id", ["", "runner", "com.example.", "com.exa mple.x", "com.example/x", "com.exämple.x"]
)
def test_what_is_no_bundle_id_is_wrong_usage(bundle_id: str) -> None:
    with pytest.raises(BadBundleId) as caught:
        AppOptions(bundle_id)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("content", [b"", b"not a plist", plistlib.dumps(["a"]), plistlib.dumps({"a": 1})])
def test_a_bundle_whose_plist_names_no_executable_is_none(app: Path, content: bytes) -> None:
    (app / "Info.plist").write_bytes(content)
    refused(NotAnApp, "Info.plist", app)
