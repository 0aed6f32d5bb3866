"""The options that choose how an app is signed."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.ios.signing import signing_of
from harness.devices.kinds import Selection
from harness.native.ios import SigningCommand
from harness.native.ios.errors import CertificateUnreadable
from tests.native.certificates import PASSWORD, Issued, issue


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("mine"))


@pytest.fixture
def given(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose by options, where the PATH has a signer that is never started."""
    signer = tmp_path / "rcodesign"
    signer.write_text("#!/bin/false\n")
    signer.chmod(signer.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return lambda **options: signing_of(Selection("ios", options=options), cache, pytest.fail)


def test_a_command_or_nothing(given: Any) -> None:
    assert given() is None
    assert given(ios_sign_command="./sign.sh {}") == SigningCommand("./sign.sh {}")


def test_a_certificate_with_its_password_from_the_variable_or_a_file(
    given: Any, mine: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"ios_certificate": str(mine.p12), "ios_profile": str(mine.profile)}
    with pytest.raises(CertificateUnreadable):
        given(**options)
    monkeypatch.setenv("HARNESS_IOS_CERTIFICATE_PASSWORD", PASSWORD)
    by_variable = given(**options)
    monkeypatch.delenv("HARNESS_IOS_CERTIFICATE_PASSWORD")
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    assert given(**options, ios_certificate_password_file=str(tmp_path / "password")) == by_variable
    assert by_variable.signer == tmp_path / "rcodesign"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"ios_sign_command": "x", "ios_certificate": "c.p12"},
            "--ios-sign-command and --ios-certificate are two ways",
        ),
        ({"ios_sign_command": "x", "ios_profile": "p"}, "--ios-sign-command and --ios-profile are two ways"),
        ({"ios_certificate": "c.p12"}, "go together\n.*add --ios-profile FILE"),
        ({"ios_profile": "p"}, "go together\n.*add --ios-certificate FILE"),
        (
            {"ios_certificate": "c", "ios_profile": "p", "ios_certificate_password_file": "/nowhere"},
            "--ios-certificate-password-file: /nowhere cannot be read",
        ),
    ],
)
def test_options_that_do_not_go_together(given: Any, options: dict[str, str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        given(**options)
