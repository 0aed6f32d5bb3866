"""Make an app of the runner: a bundle, and the one file (.ipa) that is kept, hashed and installed."""

from __future__ import annotations

import plistlib
import re
import shlex
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.compiler.metadata import Archive
from harness.core.cache import Cache, content_key, hash_file
from harness.core.files import replacing
from harness.native.ios.errors import BadBundleId, NotAnApp
from harness.native.ios.signing import sign_app
from harness.native.ios.stubs import MINIMUM_OS, SDK_VERSION
from harness.native.ios.tools import XCODE_SDKS, AppleTools, Slice

BUNDLE_ID = "dev.harness.runner"
APP = "HarnessRunner.app"
EXECUTABLE = "HarnessRunner"
IPA = "device_runner.ipa"
LAYOUT = 1
"""The version of the bundle's layout; raise it when the written contents change."""
COMPANION = PurePosixPath("companion/runner")
TEMPLATE = Path(__file__).with_name("Info.plist")
SUPPORTED_PLATFORMS: dict[Slice, str] = {"device": "iPhoneOS", "simulator": "iPhoneSimulator"}
MAX_UNPACKED_BYTES = 4 << 30
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

_BUNDLE_ID = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclass(frozen=True)
class AppOptions:
    """Hold the options of an app.

    ``companion`` is the same model compiled for this machine. Its runner goes into the bundle for the virtual iPhone,
    which cannot run the app itself.
    """

    bundle_id: str = BUNDLE_ID
    companion: Archive | None = None

    def __post_init__(self) -> None:
        if not _BUNDLE_ID.fullmatch(self.bundle_id):
            raise BadBundleId(f"{self.bundle_id!r} is no bundle identifier")


def info_plist(bundle_id: str, which: Slice) -> dict[str, Any]:
    """Return the bundle's property list from the one template."""
    plist: dict[str, Any] = plistlib.loads(TEMPLATE.read_bytes())
    return plist | {
        "CFBundleIdentifier": bundle_id,
        "CFBundleSupportedPlatforms": [SUPPORTED_PLATFORMS[which]],
        "DTPlatformName": XCODE_SDKS[which],
        "DTSDKName": f"{XCODE_SDKS[which]}{SDK_VERSION}",
        "MinimumOSVersion": MINIMUM_OS,
    }


def build_app(
    binary: Path, folder: Path, *, bundle_id: str = BUNDLE_ID, which: Slice = "device", companion: Path | None = None
) -> Path:
    """Make the bundle of an executable below ``folder``, and return its path.

    ``companion`` is this machine's build of the same runner.
    """
    app = folder / APP
    app.mkdir(parents=True)
    shutil.copyfile(binary, app / EXECUTABLE)
    (app / EXECUTABLE).chmod(0o755)
    (app / "Info.plist").write_bytes(plistlib.dumps(info_plist(bundle_id, which), fmt=plistlib.FMT_BINARY))
    (app / "PkgInfo").write_text("APPL????", encoding="utf-8")
    if companion is not None:
        (app / COMPANION).parent.mkdir()
        shutil.copyfile(companion, app / COMPANION)
        (app / COMPANION).chmod(0o755)
    return app


def app_file(
    binary: Path, *, cache: Cache, bundle_id: str, which: Slice, companion: Path | None, tools: AppleTools
) -> Path:
    """Return the ``.ipa`` of an executable, from the cache or made now; with Xcode its bundle is also signed ad hoc.

    Raises SigningFailed.
    """
    fields = {
        "binary": hash_file(binary),
        "companion": hash_file(companion) if companion else None,
        "plist": info_plist(bundle_id, which),
        "codesign": tools.identity if tools.codesign else None,
        "layout": LAYOUT,
    }

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="harness-app-") as work:
            app = build_app(binary, Path(work), bundle_id=bundle_id, which=which, companion=companion)
            if tools.codesign:
                sign_app(app, shlex.join([str(tools.codesign), "--force", "--sign", "-", "{}"]))
            pack_app(app, folder / IPA)

    return cache.fetch("runners", content_key(fields), build) / IPA


def pack_app(app: Path, ipa: Path, *, compressed: bool = True) -> None:
    """Write the bundle as an ``.ipa``; equal bundles give equal bytes.

    Weights hardly get smaller, and a cable is faster than zlib. So an ``.ipa`` that only goes to a phone need not be
    ``compressed``. The ``.ipa`` contains only files, Info.plist first, because installers have failed on an entry for
    the folder ``Payload/``.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    files = sorted((path for path in app.rglob("*") if path.is_file()), key=lambda path: path != app / "Info.plist")
    with replacing(ipa) as partial, zipfile.ZipFile(partial, "w", method, compresslevel=6) as archive:
        for path in files:
            name = PurePosixPath("Payload", app.name, path.relative_to(app).as_posix())
            entry = zipfile.ZipInfo(str(name), ZIP_EPOCH)
            entry.compress_type = method
            entry.create_system = 3  # Unix, whose modes are in the upper half
            executable = path.stat().st_mode & stat.S_IXUSR
            entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=False) as target:
                shutil.copyfileobj(source, target)


def unpack_app(ipa: Path, folder: Path) -> Path:
    """Unpack the bundle of an ``.ipa`` below ``folder``, with its files' modes, and return its path.

    Raises NotAnApp.
    """
    try:
        with zipfile.ZipFile(ipa) as archive:
            entries = archive.infolist()
            apps = {
                parts[1]
                for entry in entries
                if len(parts := PurePosixPath(entry.filename).parts) > 2 and parts[0] == "Payload"
            }
            if len(apps) != 1 or not next(iter(apps)).endswith(".app"):
                raise NotAnApp(f"{ipa} holds {len(apps)} bundles below Payload, not one")
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
                raise NotAnApp(f"{ipa} is more than {MAX_UNPACKED_BYTES >> 30} GiB when it is unpacked")
            for entry in entries:
                _extract(archive, entry, folder)
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise NotAnApp(f"{ipa} cannot be unpacked: {error}") from error
    app = folder / "Payload" / apps.pop()
    if not (app / "Info.plist").is_file():
        raise NotAnApp(f"{ipa} has no Info.plist in {app.name}")
    return app


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    mode = entry.external_attr >> 16
    parts = PurePosixPath(entry.filename).parts
    if entry.is_dir():
        return
    if not parts or ".." in parts or entry.filename.startswith("/") or "\\" in entry.filename or stat.S_ISLNK(mode):
        raise NotAnApp(f"{archive.filename} holds {entry.filename!r}, which does not stay in its folder")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    target.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def read_info(app: Path) -> dict[str, Any]:
    """Return the bundle's Info.plist; raises NotAnApp."""
    try:
        plist = plistlib.loads((app / "Info.plist").read_bytes())
    except (OSError, plistlib.InvalidFileException, ValueError) as error:
        raise NotAnApp(f"{app} has no Info.plist that can be read: {error}") from error
    if not isinstance(plist, dict) or not isinstance(plist.get("CFBundleExecutable"), str):
        raise NotAnApp(f"the Info.plist of {app} names no executable")
    return plist
