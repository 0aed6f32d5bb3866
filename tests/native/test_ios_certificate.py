"""Apps are signed with a user's certificate on any system; OpenSSL and hashlib read the signature."""

from __future__ import annotations

import hashlib
import plistlib
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.native.ios import build_app, check_app
from harness.native.ios.certificate import read_certificate
from harness.native.ios.errors import (
    CertificateExpired,
    CertificateNotInProfile,
    CertificateUnreadable,
    ProfileUnreadable,
    SignerMissing,
    SigningFailed,
)
from harness.native.ios.rcodesign import find_rcodesign
from tests.native.apple import program, quiet
from tests.native.certificates import BUNDLE_ID, PASSWORD, TEAM, Issued, issue, openssl

pytestmark = pytest.mark.compiler

UDID = "00008110-000A1B2C3D4E801E"
CODE_SIGNATURE, SUPER_BLOB = 0x1D, 0xFADE0CC0
CODE_DIRECTORY, ENTITLEMENTS, CMS = 0, 5, 0x10000
"""The slots of a signature. They and the numbers above are those of Apple's ``cs_blobs.h`` and ``loader.h``."""
PAGE_SLOTS = {1: "Info.plist", 3: "_CodeSignature/CodeResources"}


@pytest.fixture(scope="module")
def binary(user_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("program"), "device", user_cache)


@pytest.fixture(scope="module")
def signer(user_cache: Cache) -> Path:
    return find_rcodesign(user_cache, quiet)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("mine"), ProvisionedDevices=[UDID])


def blobs(executable: bytes) -> dict[int, bytes]:
    """Return the parts of the signature at the end of a 64-bit Mach-O, by their slots."""
    count, place = struct.unpack_from("<I", executable, 16)[0], 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", executable, place)
        if command == CODE_SIGNATURE:
            begin, length = struct.unpack_from("<II", executable, place + 8)
            break
        place += size
    magic, _length, parts = struct.unpack_from(">III", executable, begin)
    assert magic == SUPER_BLOB
    found = {}
    for part in range(parts):
        slot, offset = struct.unpack_from(">II", executable, begin + 12 + 8 * part)
        own = struct.unpack_from(">I", executable, begin + offset + 4)[0]
        assert offset + own <= length
        found[slot] = executable[begin + offset : begin + offset + own]
    return found


def directory_hashes(directory: bytes) -> tuple[list[bytes], dict[int, bytes], int]:
    """Return the hashes of the pages and of the special slots of a code directory, and the bytes that are covered."""
    hashes, _identifier, special, pages, limit = struct.unpack_from(">IIIII", directory, 16)
    size, kind, _platform, page_bits = struct.unpack_from("BBBB", directory, 36)
    assert (kind, size, page_bits) == (2, 32, 12), "SHA-256 of pages of 4 KiB"

    def at(place: int) -> bytes:
        return directory[hashes + place * size :][:size]

    return [at(page) for page in range(pages)], {slot: at(-slot) for slot in range(1, special + 1)}, limit


@pytest.mark.thorough
@pytest.mark.parametrize("legacy", [False, True], ids=["AES", "3DES, as Keychain Access writes it"])
def test_openssl_and_hashlib_find_the_signature_good(binary: Path, signer: Path, tmp_path: Path, legacy: bool) -> None:
    mine = issue(tmp_path / "mine", legacy=legacy, ProvisionedDevices=[UDID])
    app = build_app(binary, tmp_path)
    read_certificate(mine.p12, PASSWORD, mine.profile, signer).sign(app)
    assert check_app(app, UDID, BUNDLE_ID).name == "Bench"
    assert (app / "embedded.mobileprovision").read_bytes() == mine.profile.read_bytes()

    executable = (app / "HarnessRunner").read_bytes()
    found = blobs(executable)
    pages, special, limit = directory_hashes(found[CODE_DIRECTORY])
    assert pages == [hashlib.sha256(executable[at : min(at + 4096, limit)]).digest() for at in range(0, limit, 4096)]
    for slot, name in PAGE_SLOTS.items():
        assert special[slot] == hashlib.sha256((app / name).read_bytes()).digest(), name
    assert special[ENTITLEMENTS] == hashlib.sha256(found[ENTITLEMENTS]).digest()
    assert plistlib.loads(found[ENTITLEMENTS][8:]) == {
        "application-identifier": f"{TEAM}.{BUNDLE_ID}",
        "get-task-allow": True,
    }
    sealed = plistlib.loads((app / "_CodeSignature/CodeResources").read_bytes())["files2"]
    profile = sealed["embedded.mobileprovision"]["hash2"]
    assert profile == hashlib.sha256(mine.profile.read_bytes()).digest()

    (tmp_path / "signature").write_bytes(found[CMS][8:])
    (tmp_path / "directory").write_bytes(found[CODE_DIRECTORY])
    given: list[str | Path] = [
        "-inform",
        "DER",
        "-in",
        tmp_path / "signature",
        "-binary",
        "-content",
        tmp_path / "directory",
    ]
    openssl("cms", "-verify", *given, "-CAfile", mine.authority, "-certfile", mine.certificate, "-purpose", "any")


@pytest.mark.thorough
def test_nothing_secret_is_left_or_shown(
    binary: Path, signer: Path, mine: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    certificate = read_certificate(mine.p12, PASSWORD, mine.profile, signer)
    certificate.sign(build_app(binary, tmp_path))
    assert list(work.iterdir()) == []
    assert "PRIVATE" not in repr(certificate)
    (tmp_path / "HarnessRunner.app/HarnessRunner").write_bytes(b"no program")
    with pytest.raises(SigningFailed) as failed:
        certificate.sign(tmp_path / "HarnessRunner.app")
    assert "PRIVATE" not in str(failed.value)
    assert list(work.iterdir()) == []


def _refused(error: type[HarnessError], match: str, mine: Issued, *, password: str = PASSWORD, days: int = 0) -> None:
    now = datetime.now(timezone.utc) + timedelta(days=days)
    with pytest.raises(error, match=match) as caught:
        read_certificate(mine.p12, password, mine.profile, Path("rcodesign"), now=now)
    assert caught.value.cure


def test_what_cannot_sign_is_named(mine: Issued, tmp_path: Path) -> None:
    _refused(CertificateUnreadable, "no .p12 file of that password", mine, password="another")
    _refused(CertificateUnreadable, "no .p12 file of that password", mine, password="")
    _refused(CertificateExpired, "is valid from .* to ", mine, days=31)
    _refused(CertificateExpired, "is valid from .* to ", mine, days=-1)
    other = issue(tmp_path / "other", DeveloperCertificates=[b"somebody else's"])
    _refused(CertificateNotInProfile, "'Bench' names 1 certificates, none of them", other)
    other.p12.unlink()
    _refused(CertificateUnreadable, "cannot be read: No such file", other)
    openssl("pkcs12", "-export", "-nokeys", "-in", mine.certificate, "-out", other.p12, "-passout", f"pass:{PASSWORD}")
    _refused(CertificateUnreadable, "holds no ", other)
    other.profile.write_bytes(b"no profile")
    _refused(ProfileUnreadable, "is no provisioning profile", other)


def test_without_cargo_or_the_registry_the_cure_is_named(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo = tmp_path / "bin/cargo"
    cargo.parent.mkdir()
    for name, line in (
        ("cargo", "echo 'error: could not find `apple-codesign`' >&2; exit 101"),
        ("rustc", "echo rustc 1.95.0"),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{cargo.parent}:/usr/bin:/bin")
    with pytest.raises(SignerMissing, match=r"(?s)could not be built: .*could not find") as caught:
        find_rcodesign(cache, quiet)
    assert "cargo install apple-codesign" in caught.value.cure
    assert [path.suffix for path in cache.root.glob("rcodesign/*")] == [".lock"]
