"""Make an app of the runner: the APK that ``--android-mode app`` installs."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.core.cache import Cache, content_key, hash_file
from harness.core.files import replacing
from harness.native.android.key import Key, user_key
from harness.native.android.library import LIBRARY, PAGE_BYTES, activity_library
from harness.native.android.manifest import manifest
from harness.native.android.signing import sign_apk

PREFIX = "dev.harness.runner"
"""What every app's package begins with; nobody else's does."""
RUNNER = "libharness_runner.so"
"""The runner's name in the app: Android unpacks files of such names only."""
APK = "device_runner.apk"
LAYOUT = 1
"""The version of the app's layout; raise it when the written contents change."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ALIGNMENT = 0xD935
"""The extra field that Android's own tools write for the padding before aligned contents."""


@dataclass(frozen=True)
class App:
    """Describe an APK. Apps of different runners have different ``package`` names, to be installed side by side."""

    path: Path
    package: str


def app_of(runner: Path, abi: str, cache: Cache) -> App:
    """Return the app of a runner, from the cache or made now; raises AppNotBuilt or BadKey.

    The same runner and the same key make the same bytes. The package's name follows from them, so that an app that is
    installed already under that name is this one.
    """
    key, library = user_key(cache), activity_library(abi, cache)
    fields = {
        "runner": hash_file(runner),
        "library": hash_file(library),
        "manifest": hashlib.sha256(manifest(PREFIX)).hexdigest(),
        "key": hashlib.sha256(key.certificate).hexdigest(),
        "abi": abi,
        "layout": LAYOUT,
    }
    name = content_key(fields)
    package = f"{PREFIX}.r{name[:16]}"
    folder = cache.fetch("apps", name, lambda folder: write_apk(folder / APK, package, abi, runner, library, key))
    return App(folder / APK, package)


def write_apk(path: Path, package: str, abi: str, runner: Path, library: Path, key: Key) -> None:
    """Write the APK whole or not at all.

    Nothing is compressed: weights hardly get smaller, and a cable is faster than zlib.
    """
    with replacing(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            _add(archive, "AndroidManifest.xml", io.BytesIO(manifest(package)))
            for name, source in ((LIBRARY, library), (RUNNER, runner)):
                with source.open("rb") as file:
                    _add(archive, f"lib/{abi}/{name}", file)
        sign_apk(partial, key)


def _add(archive: zipfile.ZipFile, name: str, source: BinaryIO) -> None:
    """Add a file whose contents begin at a page of the newest phones."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o100755 << 16
    entry.create_system = 3
    begins = archive.start_dir + 30 + len(name.encode()) + 6
    padding = -begins % PAGE_BYTES
    entry.extra = struct.pack("<HHH", _ALIGNMENT, 2 + padding, PAGE_BYTES) + bytes(padding)
    with archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)
