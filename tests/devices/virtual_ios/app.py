"""A tiny app for a virtual iPhone: a Mach-O that a phone would take, and a program of this machine in its place."""

from __future__ import annotations

import hashlib
import plistlib
import stat
import struct
import zipfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

BUNDLE_ID = "dev.harness.tiny"
ARM64, X86_64 = 0x0100000C, 0x01000007
PAGE_BYTES = 4096
_SCRIPT = """#!/bin/sh
echo "arguments: $*"
echo "greeting: $GREETING" >&2
cat "$HOME/Documents/order.txt" 2>/dev/null
echo done > "$HOME/Documents/result.txt"
exit ${CODE:-0}
"""


def make_executable(
    cpu: int = ARM64, platform: int = 2, minimum_os: tuple[int, int] = (14, 0), signed: bool = True
) -> bytes:
    """The least Mach-O executable with the load commands that are looked at; its signature is ad hoc."""
    version = minimum_os[0] << 16 | minimum_os[1] << 8
    build = struct.pack("<IIIIII", 0x32, 24, platform, version, version, 0)
    limit = PAGE_BYTES
    directory = b""
    if signed:
        identifier = BUNDLE_ID.encode() + b"\0"
        size = 44 + len(identifier) + 32
        # The page is hashed with all that locates the hash, so its size is fixed first.
        signature = struct.pack("<IIII", 0x1D, 16, limit, 20 + size)
        head = struct.pack("<8I", 0xFEEDFACF, cpu, 0, 2, 2, len(build) + 16, 0, 0)
        page = (head + build + signature).ljust(limit, b"\0")
        directory = struct.pack(
            ">9I4BI", 0xFADE0C02, size, 0x20001, 2, 44 + len(identifier), 44, 0, 1, limit, 32, 2, 0, 12, 0
        )
        directory += identifier + hashlib.sha256(page).digest()
        return page + struct.pack(">5I", 0xFADE0CC0, 20 + size, 1, 0, 20) + directory
    head = struct.pack("<8I", 0xFEEDFACF, cpu, 0, 2, 1, len(build), 0, 0)
    return (head + build).ljust(limit, b"\0")


@dataclass(frozen=True)
class TinyApp:
    """What to make an ``.ipa`` of; ``with_`` changes it. ``udids`` None leaves the profile out."""

    udids: tuple[str, ...] | None
    bundle_id: str = BUNDLE_ID
    version: str = "1"
    executable: bytes = field(default_factory=make_executable, repr=False)
    companion: str | None = _SCRIPT
    minimum_os: str = "14.0"
    expires: datetime = field(default_factory=lambda: datetime.now(timezone.utc) + timedelta(days=7))
    team: str = "TEAM123456"
    info: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)
    name: str = "Tiny"
    """Of its executable."""
    profile_of: str | None = None
    """The app that its profile is for; None: this one."""

    def with_(self, **changes: Any) -> TinyApp:
        return replace(self, **changes)

    def write(self, path: Path) -> Path:
        """Pack it; entries are stored, so that their size is the archive's."""
        info = {
            "CFBundleExecutable": self.name,
            "CFBundleIdentifier": self.bundle_id,
            "CFBundleName": "Tiny",
            "CFBundleShortVersionString": self.version,
            "CFBundleVersion": self.version,
            "MinimumOSVersion": self.minimum_os,
            "UIDeviceFamily": [1, 2],
            "UIFileSharingEnabled": True,
            **self.info,
        }
        files: dict[str, bytes] = {"Info.plist": plistlib.dumps(info), self.name: self.executable, **self.extra}
        if self.udids is not None:
            files["embedded.mobileprovision"] = b"0\x80" + plistlib.dumps(self._profile()) + b"\0\0"
        if self.companion is not None:
            files["companion/runner"] = self.companion.encode()
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in files.items():
                entry = zipfile.ZipInfo(f"Payload/Tiny.app/{name}")
                mode = 0o755 if name in (self.name, "companion/runner") else 0o644
                entry.external_attr = (stat.S_IFREG | mode) << 16
                packed.writestr(entry, data)
        return path

    def _profile(self) -> dict[str, Any]:
        return {
            "ExpirationDate": self.expires.replace(tzinfo=None),
            "ProvisionedDevices": list(self.udids or ()),
            "Entitlements": {
                "application-identifier": f"{self.team}.{self.profile_of or self.bundle_id}",
                "get-task-allow": True,
            },
        }
