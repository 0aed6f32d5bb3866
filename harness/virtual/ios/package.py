"""Check an app as a phone's installer does, with the installer's names for refusals."""

from __future__ import annotations

import plistlib
import re
import stat
import zipfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any
from xml.parsers.expat import ExpatError

from harness.virtual.ios import macho
from harness.virtual.ios.state import Identity

IPHONE = 1
_PROFILE = re.compile(rb"<\?xml.*?</plist>", re.DOTALL)
_SIGNATURE_ERRORS = {
    0xE8008011: "This provisioning profile has expired.",
    0xE8008012: "This provisioning profile cannot be installed on this device.",
    0xE8008014: "The executable contains an invalid signature.",
    0xE8008015: "A valid provisioning profile for this executable was not found.",
    0xE800801C: "No code signature found.",
}


class Rejected(Exception):
    """The installer refuses; its client gets ``name`` and ``description``."""

    def __init__(self, name: str, description: str, detail: int | None = None) -> None:
        super().__init__(f"{name}: {description}")
        self.name = name
        self.description = description
        self.detail = detail


@dataclass(frozen=True)
class Package:
    """Describe an acceptable app: its folder, its description and its profile's permissions."""

    folder: Path
    info: dict[str, Any]
    entitlements: dict[str, Any]

    @property
    def bundle_id(self) -> str:
        return str(self.info["CFBundleIdentifier"])


def unpacked_bytes(archive: Path) -> int:
    """Return the unpacked bytes of an ``.ipa``. Raises Rejected."""
    try:
        with zipfile.ZipFile(archive) as packed:
            return sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise Rejected("PackageExtractionFailed", f"Could not extract archive: {error}") from error


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an ``.ipa`` into ``folder``, and return the app's folder. Raises Rejected."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                _unpack(packed, entry, folder)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise Rejected("PackageExtractionFailed", f"Could not extract archive: {error}") from error
    apps = sorted((folder / "Payload").glob("*.app"))
    if len(apps) != 1:
        raise Rejected("PackageInspectionFailed", "Failed to find the app in the Payload folder of the package")
    return apps[0]


def _unpack(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts:
        raise Rejected("PackageExtractionFailed", f"The archive has an entry outside of itself: {entry.filename}")
    mode = entry.external_attr >> 16
    target = folder / path
    if stat.S_ISLNK(mode):
        raise Rejected("InvalidSymlink", f"The bundle contained an invalid symlink: {entry.filename}")
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(entry) as source, target.open("wb") as stream:
        while chunk := source.read(1 << 20):
            stream.write(chunk)
    target.chmod(0o755 if mode & 0o100 else 0o644)


def inspect(folder: Path, identity: Identity) -> Package:
    """Check an app's folder as a phone's installer does. Raises Rejected."""
    info = _info(folder)
    for key, name in (
        ("CFBundleIdentifier", "MissingBundleIdentifier"),
        ("CFBundleVersion", "MissingBundleVersion"),
        ("CFBundleExecutable", "MissingBundleExecutable"),
    ):
        if not isinstance(info.get(key), str) or not info[key]:
            raise Rejected(name, f"The bundle's Info.plist has no {key}")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", info["CFBundleIdentifier"]):
        raise Rejected("PackageInspectionFailed", f"Invalid bundle identifier {info['CFBundleIdentifier']!r}")
    if IPHONE not in (info.get("UIDeviceFamily") or [IPHONE]):
        raise Rejected("DeviceFamilyNotSupported", "This app was not built to support this device family")
    required = _version(str(info.get("MinimumOSVersion", "0")))
    if required > identity.version:
        raise _too_old(info["MinimumOSVersion"], identity)
    executable = folder / info["CFBundleExecutable"]
    if executable.parent != folder or not executable.is_file():
        raise Rejected("MissingBundleExecutable", f"The bundle has no executable {info['CFBundleExecutable']}")
    if not executable.stat().st_mode & 0o100:
        raise Rejected("ExecutableTwiddleFailed", f"The bundle's executable {executable.name} is not executable")
    _check_executable(executable, identity)
    return Package(folder, info, _check_profile(folder, info["CFBundleIdentifier"], identity))


def _info(folder: Path) -> dict[str, Any]:
    try:
        info = plistlib.loads((folder / "Info.plist").read_bytes())
    except (OSError, plistlib.InvalidFileException, ExpatError, ValueError) as error:
        raise Rejected("PackageInspectionFailed", f"Failed to load Info.plist from {folder.name}: {error}") from error
    if not isinstance(info, dict):
        raise Rejected("PackageInspectionFailed", f"The Info.plist of {folder.name} is no dictionary")
    return info


def _check_executable(path: Path, identity: Identity) -> None:
    try:
        executable = macho.read(path.read_bytes())
    except macho.NotAnExecutable as error:
        raise Rejected("IncorrectArchitecture", f"Failed to find matching arch for {path.name}: {error}") from error
    if executable.platform != macho.IOS:
        wrong = "the simulator" if executable.platform == macho.IOS_SIMULATOR else f"platform {executable.platform}"
        raise Rejected("IncorrectArchitecture", f"{path.name} was built for {wrong}, not for a device")
    if executable.minimum_os > (*identity.version, 0, 0)[:3]:
        raise _too_old(".".join(map(str, executable.minimum_os)), identity)
    if not executable.signed:
        raise _unverified(path, 0xE800801C)
    if not executable.signature_fits:
        raise _unverified(path, 0xE8008014)


def _check_profile(folder: Path, bundle_id: str, identity: Identity) -> dict[str, Any]:
    path = folder / "embedded.mobileprovision"
    found = _PROFILE.search(path.read_bytes()) if path.is_file() else None
    if found is None:
        raise _unverified(folder, 0xE8008015)
    try:
        profile = plistlib.loads(found.group())
        expires = profile["ExpirationDate"].replace(tzinfo=timezone.utc)
        entitlements = dict(profile["Entitlements"])
        allowed = str(entitlements["application-identifier"]).split(".", 1)[1]
    except (ExpatError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _unverified(folder, 0xE8008015) from error
    if expires < datetime.now(timezone.utc):
        raise _unverified(folder, 0xE8008011)
    if not profile.get("ProvisionsAllDevices") and identity.udid not in profile.get("ProvisionedDevices", ()):
        raise _unverified(folder, 0xE8008012)
    if allowed != bundle_id and not (allowed.endswith("*") and bundle_id.startswith(allowed[:-1])):
        raise _unverified(folder, 0xE8008015)
    return entitlements


def _unverified(path: Path, code: int) -> Rejected:
    subject = "install embedded profile for" if code in (0xE8008011, 0xE8008012) else "verify code signature of"
    # Clients get the code as a signed number.
    return Rejected(
        "ApplicationVerificationFailed",
        f"Failed to {subject} {path.name} : {code:#x} ({_SIGNATURE_ERRORS[code]})",
        code - (1 << 32),
    )


def _too_old(wanted: object, identity: Identity) -> Rejected:
    return Rejected(
        "DeviceOSVersionTooLow",
        f"The system version is lower than the minimum OS version specified for bundle: "
        f"have {identity.os_version}; need {wanted}",
    )


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        return (0,)
