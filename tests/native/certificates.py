"""A certificate and a profile as Apple's are, made by OpenSSL's program."""

from __future__ import annotations

import plistlib
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

PASSWORD = "a long password, ümläuts too"
TEAM = "TEAM123456"
BUNDLE_ID = "dev.harness.runner"


@dataclass(frozen=True)
class Issued:
    """The files of one developer; ``authority`` and ``certificate`` are PEM."""

    authority: Path
    certificate: Path
    key: Path
    p12: Path
    profile: Path


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def issue(folder: Path, *, days: int = 30, legacy: bool = False, **changes: Any) -> Issued:
    """Make an authority, a developer's certificate for code signing, its .p12, and a profile that names it."""
    folder.mkdir(exist_ok=True)
    made = Issued(*(folder / name for name in ("ca.pem", "developer.pem", "key.pem", "mine.p12", "my.mobileprovision")))
    ca_key, request = folder / "ca.key", folder / "request.pem"
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca_key, "-out", made.authority, "-days", "60",
        "-subj", "/CN=A test's own authority",
    )  # fmt: skip
    subject = f"/UID=ABC/CN=Apple Development: you@example.com (ABC)/OU={TEAM}"
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", made.key, "-out", request, "-subj", subject)
    extensions = folder / "extensions"
    extensions.write_text("keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,codeSigning\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", made.authority, "-CAkey", ca_key, "-CAcreateserial", "-out",
        made.certificate, "-days", str(days), "-extfile", extensions,
    )  # fmt: skip
    old: list[str | Path] = ["-legacy"] if legacy else []
    openssl(
        "pkcs12", "-export", *old, "-inkey", made.key, "-in", made.certificate, "-out", made.p12, "-passout",
        f"pass:{PASSWORD}",
    )  # fmt: skip
    until = datetime.now(timezone.utc) + timedelta(days=7)
    profile: dict[str, Any] = {
        "Name": "Bench",
        "TeamIdentifier": [TEAM],
        "ExpirationDate": until.replace(tzinfo=None),
        "ProvisionedDevices": [],
        "DeveloperCertificates": [openssl("x509", "-in", made.certificate, "-outform", "DER")],
        "Entitlements": {"application-identifier": f"{TEAM}.*", "get-task-allow": True},
    }
    message = plistlib.dumps(profile | changes)
    signer: list[str | Path] = ["-signer", made.certificate, "-inkey", made.key]
    made.profile.write_bytes(openssl("cms", "-sign", "-nodetach", "-binary", "-outform", "DER", *signer, given=message))
    return made
