"""Make the app to install: an .ipa, stamped with its build, signed for one phone and checked."""

from __future__ import annotations

import hashlib
import plistlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from harness.core.cache import hash_file
from harness.devices.errors import RunnerUnusable
from harness.native.ios import Signing, app_facts, check_app, pack_app, unpack_app

BUILD_KEY = "HarnessBuildSha256"
"""A key in an installed app's Info.plist, which identifies it as ours and names its build. If a phone does not report
keys that are not Apple's, the version identifies it, because it is derived from the build."""


@dataclass(frozen=True)
class Package:
    """Describe an .ipa on this machine. ``build`` is the same for the same bytes signed the same way."""

    path: Path
    bundle_id: str
    executable: str
    build: str
    size: int

    @property
    def version(self) -> str:
        """Return ``CFBundleVersion``: three numbers, two of them from ``build``."""
        return f"1.{int(self.build[:7], 16)}.{int(self.build[7:14], 16)}"


def read_package(ipa: Path, signing: Signing | None) -> Package:
    """Return the .ipa's own description; raises RunnerUnusable if it is not an app."""
    try:
        with zipfile.ZipFile(ipa) as archive:
            names = [name for name in archive.namelist() if name.endswith(".app/Info.plist") and name.count("/") == 2]
            info = plistlib.loads(archive.read(names[0]))
        build = hashlib.sha256(f"{hash_file(ipa)} {signing.identity if signing else ''}".encode()).hexdigest()
        return Package(ipa, info["CFBundleIdentifier"], info["CFBundleExecutable"], build, ipa.stat().st_size)
    except OSError as error:
        raise RunnerUnusable(f"the app {ipa} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, IndexError, KeyError, plistlib.InvalidFileException) as error:
        raise RunnerUnusable(f"{ipa} is no app for iOS: {type(error).__name__} {error}") from error


def make_installable(package: Package, udid: str, system: Version, signing: Signing | None, folder: Path) -> Path:
    """Make an .ipa below ``folder`` that this phone accepts, as far as this computer can check.

    Raises RunnerUnusable for an iOS that is too old, and AppUnusable's kinds (SigningFailed, ProfileMissing,
    DeviceNotInProfile …) with their cures.
    """
    app = unpack_app(package.path, folder)
    _stamp(app, package)
    if signing:
        signing.sign(app)
    check_app(app, udid, package.bundle_id)
    _check_system(app, system)
    made = folder / "signed.ipa"
    pack_app(app, made, compressed=False)
    return made


def _stamp(app: Path, package: Package) -> None:
    path = app / "Info.plist"
    info = plistlib.loads(path.read_bytes())
    path.write_bytes(plistlib.dumps({**info, "CFBundleVersion": package.version, BUILD_KEY: package.build}))


def _check_system(app: Path, system: Version) -> None:
    wanted = app_facts(app).minimum_os
    try:
        too_old = wanted is not None and Version(str(wanted)) > system
    except InvalidVersion:
        return
    if too_old:
        raise RunnerUnusable(f"the app needs iOS {wanted}, the phone has {system}", cure="use a phone with a newer iOS")
