"""Make and keep the key that signs this user's apps, as Android's own tools do with a debug key."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from filelock import FileLock

from harness.core.cache import Cache
from harness.core.files import replacing
from harness.native.android.errors import BadKey

FILE = "android-app-key.pem"
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "harness debug")])
_DAYS = 30 * 365
LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Key:
    """Hold a private key and its certificate; ``certificate`` and ``public`` are in DER."""

    private: rsa.RSAPrivateKey
    certificate: bytes

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def user_key(cache: Cache) -> Key:
    """Return the key in the user's cache folder, made the first time; only the user may read it. Raises BadKey."""
    path = cache.root / FILE
    cache.root.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        if not path.exists():
            _write(path, _new())
        return _read(path)


def _new() -> bytes:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    began = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=_DAYS))
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        raise BadKey(
            f"{path} cannot be written: {error.strerror or error}", cure="look at the folder's permissions"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> Key:
    try:
        content = path.read_bytes()
        private = serialization.load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificate(content)
    except (OSError, ValueError) as error:
        raise BadKey(f"{path} holds no key: {error}") from error
    if not isinstance(private, rsa.RSAPrivateKey) or private.public_key() != certificate.public_key():
        raise BadKey(f"{path} holds no RSA key with its own certificate")
    return Key(private, certificate.public_bytes(serialization.Encoding.DER))
