"""Read provisioning profiles: which devices may run which app, until when."""

from __future__ import annotations

import plistlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.native.ios.errors import ProfileMissing, ProfileUnreadable

FILE_NAME = "embedded.mobileprovision"
BEGIN, END = b"<?xml", b"</plist>"


@dataclass(frozen=True)
class Profile:
    """Hold a profile.

    ``app_id`` has the team's prefix before the first dot, and may end in ``*``. ``devices`` is None if any device is
    allowed. ``entitlements`` are what an app with this profile may ask for. ``certificates`` are those that may sign
    it, in DER.
    """

    name: str
    app_id: str
    expires: datetime
    devices: frozenset[str] | None
    entitlements: dict[str, Any] = field(default_factory=dict)
    certificates: tuple[bytes, ...] = ()

    def covers(self, bundle_id: str) -> bool:
        """Return whether an app with that identifier may use it."""
        _team, _dot, wanted = self.app_id.partition(".")
        return bundle_id.startswith(wanted[:-1]) if wanted.endswith("*") else bundle_id == wanted

    def lists(self, udid: str) -> bool:
        """Return whether it allows the device; identifiers are compared without case and hyphens."""
        return self.devices is None or _plain(udid) in {_plain(device) for device in self.devices}

    def entitlements_of(self, bundle_id: str) -> dict[str, Any]:
        """Return the entitlements that an app with that identifier is signed with: a wildcard becomes its own."""
        team, _dot, _wanted = self.app_id.partition(".")
        return {**self.entitlements, "application-identifier": f"{team}.{bundle_id}"}


def read_profile(app: Path) -> Profile:
    """Return the bundle's profile; only the device checks its signature. Raises ProfileMissing or ProfileUnreadable."""
    if not (app / FILE_NAME).exists():
        raise ProfileMissing(f"{app.name} holds no {FILE_NAME}")
    return read_profile_file(app / FILE_NAME)


def read_profile_file(path: Path) -> Profile:
    """Return the profile of a ``.mobileprovision`` file; raises ProfileUnreadable.

    The file is a CMS message around a property list, which is one piece of plain text in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileUnreadable(f"{path} cannot be read: {error.strerror}") from error
    begin, end = data.find(BEGIN), data.rfind(END)
    try:
        if not 0 <= begin < end:
            raise ValueError("it holds no property list")
        return _profile(plistlib.loads(data[begin : end + len(END)]))
    except (ValueError, KeyError, TypeError, AttributeError, plistlib.InvalidFileException) as error:
        raise ProfileUnreadable(f"{path} is no provisioning profile: {error}") from error
    except Exception as error:  # expat's errors have no base class in common with the others
        if type(error).__module__ != "xml.parsers.expat":
            raise
        raise ProfileUnreadable(f"{path} is no provisioning profile: {error}") from error


def _profile(plist: dict[str, Any]) -> Profile:
    expires = plist["ExpirationDate"]
    if not isinstance(expires, datetime):
        raise TypeError("ExpirationDate is no date")
    devices = None if plist.get("ProvisionsAllDevices") else plist.get("ProvisionedDevices", [])
    return Profile(
        name=str(plist.get("Name", "")),
        app_id=str(plist["Entitlements"]["application-identifier"]),
        expires=expires.replace(tzinfo=timezone.utc),  # property lists have no time zones and mean UTC
        devices=None if devices is None else frozenset(str(device) for device in devices),
        entitlements=dict(plist["Entitlements"]),
        certificates=tuple(bytes(data) for data in plist.get("DeveloperCertificates", ())),
    )


def _plain(udid: str) -> str:
    return udid.replace("-", "").upper()
