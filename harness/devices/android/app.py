"""Run the runner as an app in the foreground (``--android-mode app``): install it, start it, end it, remove it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.devices.android.errors import AppNotStarted, DeviceLocked, InstallRefused
from harness.devices.android.makers import setting_to_turn_on
from harness.devices.android.options import AndroidOptions
from harness.devices.android.sections import without_noise
from harness.devices.android.shell import Shell, script
from harness.devices.android.store import RunnerStore
from harness.devices.base import OnPush
from harness.devices.errors import CommandTimeout, DeviceFull, RunnerUnusable
from harness.devices.pushing import LocalFile, local_file
from harness.native.android import ACTIVITY, PREFIX, App, app_of

INSTALL_SECONDS = 180.0
"""Play Protect may look at an app for a minute, and a person may be asked."""
ASK_SECONDS = 30.0
END_SECONDS = 60.0
WORDS = "harness-app: "
"""The prefix of what app.sh reports of the app itself."""
_NOT_STARTED = f"{WORDS}not started: "
_CODE = re.compile(r"\bINSTALL_(?:PARSE_)?FAILED_[A-Z_]+")
_CURES = {
    "INSTALL_FAILED_USER_RESTRICTED": "allow installing over USB on the phone ({maker}), and accept its question",
    "INSTALL_FAILED_ABORTED": "accept the phone's question whether the app may be installed, and run again",
    "INSTALL_FAILED_VERIFICATION_FAILURE": "Play Protect refused the app: in Developer options turn off Verify apps "
    "over USB (adb shell settings put global verifier_verify_adb_installs 0)",
    "INSTALL_FAILED_VERIFICATION_TIMEOUT": "Play Protect did not answer: connect the phone to a network, or turn off "
    "Verify apps over USB in Developer options",
    "INSTALL_FAILED_OLDER_SDK": "app mode needs Android 8 or newer; --android-mode shell may do",
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE": "remove the app, which another key signed: adb uninstall {package}",
    "INSTALL_PARSE_FAILED_NO_CERTIFICATES": "remove the key (android-app-key.pem in the cache folder), and run again",
}
_NO_ROOM = ("INSTALL_FAILED_INSUFFICIENT_STORAGE", "INSTALL_FAILED_MEDIA_UNAVAILABLE")
_WRONG_ABI = ("INSTALL_FAILED_NO_MATCHING_ABIS", "INSTALL_FAILED_CPU_ABI_INCOMPATIBLE")
_POLICY = re.compile("SecurityException|Permission denied|DISALLOW_", re.IGNORECASE)


class Apps:
    """Manage the apps that one session installs on one device.

    Each runner is an app of its own name, so that the two of a nightly run stay installed side by side. All are removed
    when the device is closed. What a session that was killed left is removed by the next run on the device, or by the
    next installation.
    """

    def __init__(self, shell: Shell, abi: str, maker: str, cache: Cache, options: AndroidOptions) -> None:
        self._shell = shell
        self._abi = abi
        self._maker = maker
        self._cache = cache
        self._poll_seconds = options.watch.clock_seconds
        self._patience_seconds = options.app_patience_seconds
        self._installed: dict[LocalFile, App] = {}

    def install(
        self, store: RunnerStore, runner: Path, closing: Callable[[], bool], on_push: OnPush | None = None
    ) -> App:
        """Make sure that the runner's app is installed, once a session.

        Raises InstallRefused, DeviceFull, RunnerUnusable (a wrong ABI), and what :meth:`RunnerStore.deploy` raises.
        """
        binary = local_file(runner)
        if binary in self._installed:
            return self._installed[binary]
        app = app_of(runner, self._abi, self._cache)
        pushed = store.deploy(app.path, closing, on_push)
        try:
            kept = " ".join(other.package for other in self._installed.values())
            # Android itself checks every byte against the signature.
            answer = self._shell.run(
                script("app_install"), pushed.path, PREFIX, kept, deadline=INSTALL_SECONDS, what="installing the app"
            )
        except CommandTimeout as error:
            raise InstallRefused(
                f"{self._shell.serial} did not finish installing the app within {INSTALL_SECONDS:.0f} s",
                cure="look at the phone's screen: it may wait for an answer",
            ) from error
        finally:
            store.discard(pushed)
        words = " ".join(without_noise(answer.out or answer.err).split())
        if not re.search(r"\bSuccess\b", words):
            raise refusal_of_install(
                words, serial=self._shell.serial, abi=self._abi, maker=self._maker, package=app.package
            )
        self._installed[binary] = app
        return app

    def require_unlocked(self) -> None:
        """Wake the screen, and raise DeviceLocked if a lock screen hides the app."""
        answer = self._shell.run(script("app_ready"), deadline=ASK_SECONDS, what="looking at the screen")
        if re.search(r"deviceLocked=(1|true)\b", without_noise(answer.out)):
            raise DeviceLocked(f"the screen of {self._shell.serial} is locked")

    def command(self, app: App, mask: str, records: int) -> list[str]:
        """Return what runs the app in a work folder; the runner's arguments follow."""
        head = ["/system/bin/sh", "-c", script("app"), "harness-app", app.package, ACTIVITY, mask, str(records)]
        return [*head, f"{self._poll_seconds:g}", str(self._patience_seconds)]

    def end(self, folder: str) -> None:
        """End the app that was started in a work folder, and bring its result there."""
        self._shell.run(script("app_end"), folder, deadline=END_SECONDS, what="ending the app")

    def remove_all(self) -> None:
        """Remove the apps of this session, if the device can be reached."""
        while self._installed:
            _, app = self._installed.popitem()
            with contextlib.suppress(HarnessError):
                self._shell.run('pm uninstall "$1"', app.package, deadline=INSTALL_SECONDS, what="removing the app")

    def refuse_not_started(self, log: str) -> None:
        """Raise AppNotStarted if that is what app.sh reported."""
        if _NOT_STARTED in log:
            why = log.partition(_NOT_STARTED)[2].splitlines()[0].strip(" ;")
            raise AppNotStarted(f"the app cannot be started on {self._shell.serial}: {why}")

    def ending(self, log: str) -> str | None:
        """Return what app.sh reported of an app that did not run to its end, or None."""
        lines = [line.removeprefix(WORDS).strip(" ;") for line in log.splitlines() if line.startswith(WORDS)]
        return lines[-1] if lines else None


def refusal_of_install(words: str, *, serial: str, abi: str, maker: str, package: str) -> HarnessError:
    """Return the error for what ``pm install`` printed instead of Success."""
    found = _CODE.search(words)
    code = found[0] if found else ""
    message = f"{serial} refused to install the app: {words[:300] or 'it gave no reason'}"
    if code in _NO_ROOM or "No space" in words or "not enough space" in words.lower():
        return DeviceFull(f"no room for the app on {serial}: {words[:300]}")
    if code in _WRONG_ABI:
        return RunnerUnusable(f"the app is for {abi}, which {serial} does not run: {words[:300]}")
    if code in _CURES:
        switch = setting_to_turn_on(maker) or "look in Developer options for another switch next to USB debugging"
        return InstallRefused(message, cure=_CURES[code].format(maker=switch, package=package))
    if not code and _POLICY.search(words):
        return InstallRefused(message, cure="ask who administers the phone: its policy allows no apps over adb")
    return InstallRefused(message)
