"""Read addresses and certificates of a lab, for Dask's own TLS."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.core.text import quoted
from harness.lab.errors import LabMisuse

if TYPE_CHECKING:
    from distributed import Security

VARIABLE = "HARNESS_LAB_SCHEDULER"
TOKEN_VARIABLE = "HARNESS_LAB_TOKEN"
TLS_VARIABLES = {"ca": "HARNESS_LAB_TLS_CA", "cert": "HARNESS_LAB_TLS_CERT", "key": "HARNESS_LAB_TLS_KEY"}
DEFAULT_PORT = 8786
SHORTEST_PASSWORD = 12


@dataclass(frozen=True)
class Certificates:
    """Hold the files of one part of a lab: who signs, the own certificate, its key."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def of(
        cls, ca: str | None, cert: str | None, key: str | None, environment: Mapping[str, str] = os.environ
    ) -> Certificates | None:
        """Return the files that options or variables name, None if there are none; raises LabMisuse."""
        given = {"ca": ca, "cert": cert, "key": key}
        named = {name: value or environment.get(TLS_VARIABLES[name]) for name, value in given.items()}
        if not any(named.values()):
            return None
        paths: dict[str, Path] = {}
        for name, value in named.items():
            if not value:
                raise LabMisuse(
                    f"TLS needs three files, and the {name} is not named", cure=f"name it, or set {TLS_VARIABLES[name]}"
                )
            paths[name] = Path(value)
            if not paths[name].is_file():
                raise LabMisuse(f"{quoted(value)} is no file", cure=f"name the file of the {name}")
        return cls(**paths)


def check_address(address: str, certificates: Certificates | None) -> str:
    """Return the address of a scheduler; raises LabMisuse if it is none, or does not fit the certificates."""
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not port:
        raise LabMisuse(f"{quoted(address)} is no address of a scheduler", cure="write it like tcp://192.0.2.7:8786")
    if (parts.scheme == "tls") != (certificates is not None):
        raise LabMisuse(
            f"{quoted(address)} and the certificates do not fit",
            cure="write tls:// with --tls-ca, --tls-cert and --tls-key, and tcp:// without them",
        )
    return address


def check_listening(host: str, certificates: Certificates | None, *, insecure: bool) -> None:
    """Raise LabMisuse if others could connect without a certificate: who reaches the port can run any code here."""
    if not _local(host) and certificates is None and not insecure:
        raise LabMisuse(
            f"without TLS everybody who reaches {host} could run any program as this user",
            cure="give --tls-ca, --tls-cert and --tls-key, or --insecure in a network that is all yours",
        )


def check_serving(host: str, *, insecure: bool, tls: bool = False, password: bool = False) -> None:
    """Raise LabMisuse if the lab's page would be served to others without TLS and a password."""
    if not _local(host) and not insecure and not (tls and password):
        raise LabMisuse(
            f"everybody who reaches {host} could read who measures what on which phone",
            cure="give --page-cert, --page-key and --password-file, put a proxy with TLS and a password before it, or "
            "give --insecure in a network that is all yours",
        )


def read_password(path: Path) -> str:
    """Return the first line of a file, which nobody but its owner may read. Raises LabMisuse."""
    found = read_secret(path)
    if len(found) < SHORTEST_PASSWORD:
        raise LabMisuse(
            f"the password in {quoted(path)} is shorter than {SHORTEST_PASSWORD} characters",
            cure="make one: openssl rand -base64 18",
        )
    return found


def client_token(path: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the token that a file or else the environment holds, empty without one. Raises LabMisuse."""
    return read_secret(Path(path)) if path else environment.get(TOKEN_VARIABLE, "").strip()


def read_secret(path: Path) -> str:
    """Return the first line of a file, which nobody but its owner may read. Raises LabMisuse."""
    try:
        if path.stat().st_mode & 0o077:
            raise LabMisuse(f"others may read {quoted(path)}", cure="take their rights away: chmod 600")
        found = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabMisuse(f"{quoted(path)} cannot be read: {error}", cure="name a file with one line") from error
    return found[0].strip() if found else ""


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def security(certificates: Certificates | None) -> Security | None:
    """Return Dask's settings for these files, the same for scheduler, agent and client."""
    if certificates is None:
        return None
    from distributed import Security

    own = {
        f"tls_{role}_{part}": str(getattr(certificates, part))
        for role in ("client", "scheduler", "worker")
        for part in ("cert", "key")
    }
    return Security(  # type: ignore[no-untyped-call]
        require_encryption=True, tls_ca_file=str(certificates.ca), **own
    )
