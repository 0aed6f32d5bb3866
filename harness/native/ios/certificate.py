"""Sign a bundle with the user's certificate and profile, on any system, by ``rcodesign``."""

from __future__ import annotations

import hashlib
import os
import plistlib
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from harness.core.cache import hash_file
from harness.native.ios.app import read_info
from harness.native.ios.errors import (
    CertificateExpired,
    CertificateNotInProfile,
    CertificateUnreadable,
    SigningFailed,
)
from harness.native.ios.profile import FILE_NAME, Profile, read_profile_file
from harness.native.ios.signing import SIGN_DEADLINE_SECONDS
from harness.native.process import ToolFailed, run_tool


@dataclass(frozen=True)
class Certificate:
    """Sign with a certificate, its key and a provisioning profile; :func:`read_certificate` checks them.

    ``identity`` is the hash of certificate and profile. ``pem`` is the certificate with its key, unprotected.
    ``profile_file`` is the ``.mobileprovision``. ``signer`` is rcodesign.
    """

    identity: str
    pem: bytes = field(repr=False)
    profile_file: Path
    profile: Profile
    signer: Path

    def sign(self, app: Path) -> None:
        """Put the profile into the bundle, and sign it with the profile's entitlements; raises SigningFailed.

        rcodesign gets the key in a file that only this user may read. It could read the .p12 itself, but not those
        that are protected by AES, as OpenSSL 3 writes them.
        """
        bundle_id = str(read_info(app).get("CFBundleIdentifier", ""))
        shutil.copyfile(self.profile_file, app / FILE_NAME)
        with tempfile.TemporaryDirectory(prefix="harness-sign-") as folder:
            entitlements, key = Path(folder, "entitlements.plist"), Path(folder, "key.pem")
            entitlements.write_bytes(plistlib.dumps(self.profile.entitlements_of(bundle_id)))
            key.touch(mode=0o600)
            key.write_bytes(self.pem)
            # Without a time stamp of Apple's server, as Xcode signs for development.
            command = [str(self.signer), "sign", "--config-file", os.devnull, "--timestamp-url", "none"]
            command += ["--pem-file", str(key)]
            command += ["--entitlements-xml-file", str(entitlements), str(app.absolute())]
            try:
                run_tool(command, deadline=SIGN_DEADLINE_SECONDS)
            except ToolFailed as error:
                raise SigningFailed(f"{app.name} was not signed: {error}") from error


def read_certificate(
    p12: Path, password: str, profile_file: Path, signer: Path, *, now: datetime | None = None
) -> Certificate:
    """Read and check what signs. ``now`` is the time of the check, in UTC.

    Raises CertificateUnreadable, CertificateExpired, CertificateNotInProfile or ProfileUnreadable.
    """
    profile = read_profile_file(profile_file)
    certificate, key = _unprotected(p12, password)
    now = now or datetime.now(timezone.utc)
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not since <= now <= until:
        raise CertificateExpired(f"the certificate of {p12} is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d}")
    if certificate.public_bytes(Encoding.DER) not in profile.certificates:
        raise CertificateNotInProfile(
            f"the profile {profile.name!r} names {len(profile.certificates)} certificates, none of them that of {p12}"
        )
    identity = hashlib.sha256(f"{hash_file(p12)} {hash_file(profile_file)}".encode()).hexdigest()
    return Certificate(identity, certificate.public_bytes(Encoding.PEM) + key, profile_file, profile, signer)


def _unprotected(p12: Path, password: str) -> tuple[x509.Certificate, bytes]:
    """Return the certificate, and its key as PEM."""
    try:
        loaded = load_pkcs12(p12.read_bytes(), password.encode())
    except OSError as error:
        raise CertificateUnreadable(f"{p12} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CertificateUnreadable(f"{p12} is no .p12 file of that password: {error}") from error
    if loaded.cert is None or loaded.key is None:
        raise CertificateUnreadable(f"{p12} holds no {'certificate' if loaded.cert is None else 'key'}")
    key = loaded.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return loaded.cert.certificate, key
