"""A lab with certificates: its parts trust each other, and nobody else gets in."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.conformance.fake_runners import make_order, write_runner
from harness.lab import client
from harness.lab.client import Lab
from harness.lab.errors import LabMisuse, LabUnreachable
from harness.lab.security import Certificates
from tests.lab.conftest import Town

pytestmark = pytest.mark.programs


def certificates(folder: Path) -> Certificates:
    """Make who signs, and one certificate that it has signed."""
    folder.mkdir()
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)

    def signed(
        name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, ca: bool
    ) -> x509.Certificate:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        return (
            x509.CertificateBuilder()
            .subject_name(called(name))
            .issuer_name(called("the lab"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(by, hashes.SHA256())
        )

    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(signed("the lab", root, root, True).public_bytes(pem))
    (folder / "cert.pem").write_bytes(signed("a part", key, root, False).public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    return Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")


def test_who_has_no_certificate_of_the_lab_gets_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, strangers = certificates(tmp_path / "ours"), certificates(tmp_path / "strangers")
    town = Town(tmp_path, ours)
    try:
        town.scheduler()
        town.agent("east", "e1")
        town.await_state("east/e1", "free")
        options = {f"lab_tls_{part}": str(getattr(ours, part)) for part in ("ca", "cert", "key")}
        with town.open("e1", **options) as device:
            assert device.run(write_runner(tmp_path, "everything()"), make_order()).complete

        monkeypatch.setattr(client, "CONNECT_SECONDS", 1.0)
        monkeypatch.setattr(client, "ASK_SECONDS", 1.0)
        with pytest.raises(LabUnreachable):
            Lab(town.address, strangers)
        with pytest.raises(LabUnreachable):
            Lab(town.address.replace("tls", "tcp"), None)
        with pytest.raises(LabMisuse, match="do not fit"):
            Lab(town.address, None)
    finally:
        town.close()
