"""Choose how apps are signed, from the options of ``--device ios``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.base import Notify
from harness.devices.ios.options import CERTIFICATE, PASSWORD_FILE, PASSWORD_VARIABLE, PROFILE, SIGN_COMMAND
from harness.devices.kinds import Selection
from harness.native.ios import Signing, SigningCommand
from harness.native.ios.certificate import read_certificate
from harness.native.ios.rcodesign import find_rcodesign


def signing_of(selection: Selection, cache: Cache, notify: Notify) -> Signing | None:
    """Return the way to sign that was chosen, or None; the program that signs is built into the cache if needed.

    Raises UsageError for options that do not go together, and what :func:`read_certificate` and
    :func:`find_rcodesign` raise.
    """
    chosen = selection.options
    command, p12, profile = SIGN_COMMAND.of(chosen), CERTIFICATE.of(chosen), PROFILE.of(chosen)
    if command and (p12 or profile):
        raise UsageError(
            f"{SIGN_COMMAND.flag} and {(CERTIFICATE if p12 else PROFILE).flag} are two ways to sign", cure="give one"
        )
    if bool(p12) != bool(profile):
        raise UsageError(
            f"{CERTIFICATE.flag} and {PROFILE.flag} go together",
            cure=f"add {(PROFILE if p12 else CERTIFICATE).flag} FILE",
        )
    if command:
        return SigningCommand(command)
    if not p12:
        return None
    signer = find_rcodesign(cache, notify)
    return read_certificate(Path(p12), _password(chosen), Path(profile), signer)


def _password(chosen: Mapping[str, Any]) -> str:
    """Return the certificate's password: the file's first line, else the variable, else none."""
    file = PASSWORD_FILE.of(chosen)
    if not file:
        return os.environ.get(PASSWORD_VARIABLE, "")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{PASSWORD_FILE.flag}: {file} cannot be read: {error}", cure="name a text file") from error
    return lines[0] if lines else ""
