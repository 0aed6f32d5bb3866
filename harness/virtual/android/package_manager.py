"""Install apps on a virtual device, as Android's package manager does: ``pm`` asks from the device, this answers."""

from __future__ import annotations

import errno
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from harness.virtual.android.apk_reader import Apk, BadApk, read_apk

POLL_SECONDS = 0.02
_FOLDERS = {"arm64-v8a": "arm64"}
"""The folder of an ABI's libraries in an installed app; the virtual device runs no other apps."""


class PackageManager:
    """Answer the requests in a device's folder ``framework/requests`` until it is stopped.

    ``data`` returns this machine's view of the device's ``/data``. ``refusal`` is what a test wants to be answered to
    an installation, such as ``INSTALL_FAILED_USER_RESTRICTED: Install canceled by user``.
    """

    def __init__(self, framework: Path, data: Callable[[], Path]) -> None:
        self.refusal: str | None = None
        self._framework = framework
        self._data = data
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._serve, name="package manager", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    @property
    def installed(self) -> list[str]:
        """Return the packages of the installed apps."""
        apps = self._data() / "app"
        return sorted(path.name for path in apps.iterdir()) if apps.is_dir() else []

    def _serve(self) -> None:
        requests = self._framework / "requests"
        while not self._ended.wait(POLL_SECONDS):
            for request in requests.glob("*.request"):
                words = request.read_text(encoding="utf-8", errors="replace").splitlines()
                request.unlink()
                answer, status = self._answer(words)
                request.with_suffix(".status").write_text(f"{status}\n", encoding="utf-8")
                partial = request.with_suffix(".partial")
                partial.write_text(f"{answer}\n" if answer else "", encoding="utf-8")
                partial.rename(request.with_suffix(".answer"))

    def _answer(self, words: list[str]) -> tuple[str, int]:
        match words:
            case ["install", *options, path] if all(option.startswith("-") for option in options):
                try:
                    self._install(path)
                except BadApk as error:
                    return f"Failure [{error}]", 1
                return "Success", 0
            case ["uninstall", package]:
                return ("Success", 0) if self._remove(package) else ("Failure [DELETE_FAILED_INTERNAL_ERROR]", 1)
            case ["list", "packages", *prefix]:
                named = [name for name in self.installed if not prefix or prefix[0] in name]
                return "\n".join(f"package:{name}" for name in named), 0
            case ["path", package] if package in self.installed:
                return f"package:/data/app/{package}/base.apk", 0
            case ["path", _]:
                return "", 1
        return f"Unknown command: {' '.join(words)}", 255

    def _install(self, path: str) -> None:
        """Install an APK of the device; raises BadApk."""
        if self.refusal is not None:
            raise BadApk(self.refusal)
        apk = read_apk(self._data() / path.removeprefix("/data/"))
        if apk.minimum_sdk > int(self._property("ro.build.version.sdk")):
            raise BadApk("INSTALL_FAILED_OLDER_SDK: Requires newer sdk version")
        mine = self._property("ro.product.cpu.abilist").split(",")
        abi = next((abi for abi in mine if abi in apk.abis and abi in _FOLDERS), None)
        if abi is None:
            raise BadApk("INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, res=-113")
        folder = self._data() / "app" / apk.package
        if folder.is_dir() and read_apk(folder / "base.apk").certificate != apk.certificate:
            raise BadApk("INSTALL_FAILED_UPDATE_INCOMPATIBLE: Existing package signatures do not match newer version")
        try:
            _unpack(apk, abi, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if error.errno != errno.ENOSPC:
                raise
            raise BadApk("INSTALL_FAILED_INSUFFICIENT_STORAGE: Failed to override installation location") from error

    def _remove(self, package: str) -> bool:
        if package not in self.installed:
            return False
        shutil.rmtree(self._data() / "app" / package)
        shutil.rmtree(self._data() / "media/0/Android/data" / package, ignore_errors=True)
        return True

    def _property(self, name: str) -> str:
        lines = (self._framework / "props").read_text(encoding="utf-8").splitlines()
        return next((line.partition("=")[2] for line in lines if line.startswith(f"{name}=")), "")


def _unpack(apk: Apk, abi: str, folder: Path) -> None:
    """Write the app's files; its libraries can be executed, and belong to the system."""
    libraries = folder / "lib" / _FOLDERS[abi]
    libraries.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(apk.path, folder / "base.apk")
    with zipfile.ZipFile(apk.path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix(f"lib/{abi}/")
            if name == entry.filename or "/" in name:
                continue
            with archive.open(entry) as source, (libraries / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            (libraries / name).chmod(0o755)
    if not (libraries / f"lib{apk.library}.so").is_file():
        raise BadApk(f"INSTALL_FAILED_INVALID_APK: Unable to find native library {apk.library}")
