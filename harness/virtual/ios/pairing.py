"""Keep a phone's key and the hosts that it trusts, and open TLS with each of them."""

from __future__ import annotations

import plistlib
import re
import ssl
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_CERTIFICATES = ("DeviceCertificate", "HostCertificate", "RootCertificate")


class PairRecordUnusable(Exception):
    """A host's pair record lacks something that a phone needs."""


class Pairings:
    """Manage the hosts that a phone trusts; they are kept in ``folder`` with its private key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = folder / "device.key"
        self._folder.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.public_key = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)

    def hosts(self) -> list[str]:
        """Return the HostIDs, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.plist"))

    def trust(self, record: dict[str, Any]) -> None:
        """Keep a host's pair record. Raises PairRecordUnusable."""
        host = record.get("HostID")
        if not isinstance(host, str) or not _NAME.fullmatch(host):
            raise PairRecordUnusable("HostID")
        for name in _CERTIFICATES:
            if not isinstance(record.get(name), bytes):
                raise PairRecordUnusable(name)
        kept = {name: record[name] for name in ("HostID", *_CERTIFICATES)}
        try:
            self._context(kept)
        except (ssl.SSLError, ValueError) as error:
            raise PairRecordUnusable(str(error)) from error
        (self._folder / f"{host}.plist").write_bytes(plistlib.dumps(kept))

    def forget(self, host: str) -> bool:
        """Forget a host; return whether it was trusted."""
        if host not in self.hosts():
            return False
        (self._folder / f"{host}.plist").unlink()
        return True

    def tls(self, host: str) -> ssl.SSLContext:
        """Return the server's side of mutual TLS with a trusted host."""
        return self._context(plistlib.loads((self._folder / f"{host}.plist").read_bytes()))

    def _context(self, record: dict[str, Any]) -> ssl.SSLContext:
        certificate = self._folder / "device.pem"
        certificate.write_bytes(record["DeviceCertificate"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # libimobiledevice still signs its certificates with SHA-1.
        context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
        context.load_cert_chain(certificate, self._key)
        # The certificates have no subjects by which OpenSSL could find an issuer, so each is trusted by itself.
        context.load_verify_locations(cadata=_pem(record["HostCertificate"]) + _pem(record["RootCertificate"]))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _pem(certificate: bytes) -> str:
    return certificate.rstrip(b"\0").decode("ascii") + "\n"
