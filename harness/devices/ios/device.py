"""Provide ``--device ios``: one iPhone, reached through usbmuxd, and through a tunnel if its iOS needs one."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.files import replacing
from harness.devices.appfiles import MOST_BYTES, check_names
from harness.devices.base import (
    DEFAULT_DEADLINE,
    DEFAULT_WAIT,
    Knob,
    Notify,
    OnPush,
    OnRecord,
    RunnerDescription,
    RunResult,
    description_of,
    silent,
)
from harness.devices.battery import battery_unfit
from harness.devices.errors import CommandTimeout, RunnerUnusable
from harness.devices.ios.appfiles import fetch_file, send_file
from harness.devices.ios.apps import install, installed, uninstall
from harness.devices.ios.awake import Awake
from harness.devices.ios.bundle import Package, make_installable, read_package
from harness.devices.ios.developer import make_ready
from harness.devices.ios.errors import InstallRefused
from harness.devices.ios.facts import read_conditions, read_facts
from harness.devices.ios.files import clear
from harness.devices.ios.job import LAUNCH_SECONDS, AppJob, app_reason, observed
from harness.devices.ios.launchers import Started, choose_launcher, launch_refused
from harness.devices.ios.link import TUNNELLED, Link
from harness.devices.ios.loop import LoopThread
from harness.devices.ios.options import IosOptions, Way
from harness.devices.ios.phone import Phone
from harness.devices.lock import DeviceLock
from harness.devices.orphans import Note, NoteFile
from harness.devices.outcome import as_result
from harness.devices.pushing import SLOWEST_BYTES_PER_SECOND, LocalFile, local_file, push_lines
from harness.devices.remote import RemoteDevice, merge_again
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder

ASK_SECONDS = 30.0
READY_SECONDS = 300.0
INSTALL_SECONDS = 300.0
POLL_SECONDS = 0.05
ASSERTION_SLACK_SECONDS = 60.0


class AppNote(Note):
    """Describe an app that runs.

    An app outlives a broken connection on purpose: its result is read when the phone is back. So it cannot end with its
    harness, as a runner of this machine does, and the next run looks for it before it measures.
    """

    bundle_id: str


class IosDevice(RemoteDevice):
    """Use one iPhone; see :class:`harness.devices.base.Device`.

    Opening waits until somebody taps Trust, which ``notify`` asks for, mounts the developer disk image and opens the
    tunnel. Raises NoDevice, UsbmuxUnavailable, PairingPending, PairingRefused, PhoneLocked, DeveloperModeOff,
    ImageMissing, TunnelMissing, DeviceLost, or UsageError for a launcher that this iOS does not have.
    """

    target = "ios-arm64"

    def __init__(
        self,
        loop: LoopThread,
        udid: str,
        way: Way,
        *,
        emulated: bool = False,
        companion: str | None = None,
        kind: str = "ios",
        options: IosOptions | None = None,
        lock_folder: Path | None = None,
        notify: Notify = silent,
    ) -> None:
        self.udid = udid
        self.kind = kind
        self.emulated = emulated
        self.companion = companion
        self._options = options or IosOptions()
        super().__init__(
            device_lock(udid, lock_folder),
            notify=notify,
            grace_seconds=self._options.grace_seconds,
            settle_poll_seconds=self._options.settle_poll_seconds,
        )
        self._note = NoteFile(self._lock.note_path, AppNote)
        self._read: dict[LocalFile, Package] = {}
        self._ours: dict[str, Package] = {}
        self._phone = Phone(loop, udid, way, trust_seconds=self._options.trust_seconds, notify=notify)
        try:
            self._facts = self._phone.do(read_facts, deadline=ASK_SECONDS + self._options.trust_seconds, what="opening")
            # A virtual phone must not be taken for the model that it plays.
            self.name = f"{self._facts.owners_name if emulated else self._facts.model} ({udid})"
            self._phone.label = self.name
            self._launcher = choose_launcher(self._facts.system, self._options.launcher)
            self._make_ready()
        except BaseException:
            self._phone.close()
            raise

    def facts(self) -> dict[str, Any]:
        return {**self._lasting(self.udid), **self._facts.facts, "launcher": self._launcher.name}

    @contextlib.contextmanager
    def reserve(self, *, wait_seconds: float = DEFAULT_WAIT, notify: Notify = silent) -> Iterator[None]:
        """Hold the phone; see the protocol. An app whose harness was killed is ended first."""
        with super().reserve(wait_seconds=wait_seconds, notify=notify):
            self._end_left()
            yield

    def _end_left(self) -> None:
        note = self._note.left()
        if note is None:
            return
        left = note.bundle_id
        try:
            ran = self._phone.do(
                lambda link: self._launcher.end_app(link, left), deadline=ASK_SECONDS, what=f"looking for {left}"
            )
        except HarnessError as error:
            self._notify(f"{self.name}: {left}, left by a run that was killed, may still run: {error.args[0]}")
            return
        self._note.remove()
        if ran:
            self._notify(f"ended {left} on {self.name}, left by a run that was killed")

    def deploy(self, runner: Path, *, on_push: OnPush | None = None) -> str:
        """Deploy an app; see the protocol. ``runner`` is an .ipa, and the result is the app's place on the phone.

        Raises AppUnusable's kinds for an app that this phone cannot accept, InstallRefused for one that it did not
        accept, and RunnerUnusable, DeviceFull, DeviceBusy, DeviceLost, CommandTimeout.
        """
        with self.reserve(), self._running():
            package = self._deployed(runner, on_push)
            found = self._phone.do(
                lambda link: installed(link, package.bundle_id), deadline=ASK_SECONDS, what="looking for the app"
            )
        return found.path if found is not None else ""

    def describe(self, runner: Path, *, deadline: float = 60.0) -> RunnerDescription:
        """Ask the runner for its description; see the protocol.

        Only this is read from the app's output, because a description measures nothing.
        """
        with self.reserve(), self._running():
            package = self._deployed(runner, None)
            until = time.monotonic() + deadline
            app = self._started(package, ["--describe"])
            try:
                while app.ended is None:
                    if time.monotonic() > until:
                        raise CommandTimeout(f"{runner.name} --describe gave no answer within {deadline:.0f} s")
                    time.sleep(POLL_SECONDS)
            finally:
                self._ended(app)
        if app.ended.status:
            raise RunnerUnusable(
                f"{runner.name} --describe on {self.name} {ending_of(app.ended.status)}{quoted(app.tail)}"
            )
        lines = [line for line in app.tail.splitlines() if line.startswith(b"{")]
        return description_of(lines[-1] if lines else app.tail, runner)

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        """Run an order; see the protocol. An app has only one folder, so ``workdir`` is not used.

        If the phone is lost before the app was started, that is an error. If it is lost afterwards, the result is
        incomplete and contains everything that had arrived.
        """
        began = time.monotonic()
        with self.reserve(), self._running():
            package = self._deployed(runner, None)
            with self._kept_awake(deadline) as (knobs, again):
                job = AppJob(
                    self._phone,
                    self._launcher,
                    package,
                    order,
                    self._terms(deadline, on_record, again),
                    options=self._options,
                    tunnelled=self._facts.system >= TUNNELLED,
                )
                self._note.write(AppNote(bundle_id=package.bundle_id))
                try:
                    outcome = job.run()
                    if outcome.lost is None:
                        self._note.remove()
                finally:
                    self._quietly(lambda link: clear(link, package.bundle_id), "removing the order")
            wall = time.monotonic() - began
        seen = observed(outcome, self._launcher.name)
        return as_result(order, outcome, app_reason(outcome), wall=wall, knobs=knobs, observed=seen, log_name="output")

    def send_to_app(self, app: str, source: Path, name: str) -> None:
        """Write a file in a user's app; see :class:`harness.devices.appfiles.OpensApps`."""
        check_names(app, name)
        data = source.read_bytes()
        seconds = ASK_SECONDS + len(data) / SLOWEST_BYTES_PER_SECOND
        with self.reserve(), self._running():
            self._phone.do(
                lambda link: send_file(link, app, name, data), deadline=seconds, what=f"copying {name} into {app}"
            )

    def fetch_from_app(self, app: str, name: str, target: Path) -> int:
        """Copy a file of a user's app; see :class:`harness.devices.appfiles.OpensApps`."""
        check_names(app, name)
        seconds = ASK_SECONDS + MOST_BYTES / SLOWEST_BYTES_PER_SECOND
        with self.reserve(), self._running(), replacing(target) as partial, partial.open("wb") as stream:
            return self._phone.do(
                lambda link: fetch_file(link, app, name, stream), deadline=seconds, what=f"fetching {name} of {app}"
            )

    def close(self) -> None:
        """Close the device; see the protocol. A run in progress is ended, and installed apps are removed."""
        if self._stopped() and not self._options.keep_app:
            for package in list(self._ours.values()):
                self._remove(package)
        self._phone.close()

    def _make_ready(self) -> None:
        self._phone.do(lambda link: make_ready(link, self._notify), deadline=READY_SECONDS, what="preparing")

    def _conditions(self) -> dict[str, Any]:
        return self._phone.do(read_conditions, deadline=ASK_SECONDS, what="reading conditions")

    def _unfit(self, conditions: dict[str, Any]) -> str | None:
        return battery_unfit(conditions)

    def _deployed(self, runner: Path, on_push: OnPush | None) -> Package:
        """Make sure that the app is on the phone; one of the same build stays as it is."""
        package = self._package(runner)
        found = self._phone.do(
            lambda link: installed(link, package.bundle_id), deadline=ASK_SECONDS, what="looking for the app"
        )
        if found is not None and found.is_foreign(package):
            raise InstallRefused(
                f"{self.name} has an app {package.bundle_id} that is not the harness's",
                cure="choose another bundle id: --ios-bundle-id",
            )
        if found is not None and found.is_like(package):
            self._ours[package.bundle_id] = package
            return package
        folder = Path(tempfile.mkdtemp(prefix="harness-ios-"))
        try:
            ipa = make_installable(package, self.udid, self._facts.system, self._options.signing, folder)
            # From here on it is ours to remove, even if installing fails.
            self._ours[package.bundle_id] = package
            self._phone.do(
                lambda link: install(link, ipa, on_push or push_lines(self._notify, self.name), self._closing.is_set),
                deadline=INSTALL_SECONDS + package.size / SLOWEST_BYTES_PER_SECOND,
                what="installing the app",
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return package

    def _package(self, runner: Path) -> Package:
        file = local_file(runner)
        if file not in self._read:
            self._read[file] = read_package(runner, self._options.signing)
        return self._read[file]

    def _started(self, package: Package, arguments: list[str]) -> Started:
        try:
            return self._phone.do(
                lambda link: self._launcher.launch(link, package.bundle_id, arguments),
                deadline=LAUNCH_SECONDS,
                what="launching the app",
            )
        except HarnessError as error:
            known = launch_refused(error, self.name)
            raise known from (None if known is error else error)

    def _ended(self, app: Started) -> None:
        if app.ended is None:
            self._quietly(lambda _link: app.kill(), "ending the app")
        self._quietly(lambda _link: app.close(), "ending the app")

    @contextlib.contextmanager
    def _kept_awake(self, seconds: float) -> Iterator[tuple[list[Knob], Callable[[], None]]]:
        """Keep the phone awake; yield the knobs, and a function that does it again after a loss."""
        awake = Awake()
        limit = seconds + self._options.grace_seconds + ASSERTION_SLACK_SECONDS

        def hold() -> Knob:
            return self._phone.do(lambda link: awake.hold(link, limit), deadline=ASK_SECONDS, what="keeping it awake")

        def again() -> None:
            self._make_ready()
            merge_again(knobs, [hold()])

        knobs = [hold()]
        self._report_denied(knobs)
        try:
            yield knobs, again
        finally:
            # The assertion ends with its connection, so nothing can be left behind.
            self._quietly(lambda _link: awake.drop(), "letting it sleep")
            if knobs[0].state == "applied":
                knobs[0] = knobs[0].model_copy(update={"restored": True})

    def _remove(self, package: Package) -> None:
        """Remove the app if it is still ours; another session may have installed another one."""

        async def remove(link: Link) -> None:
            found = await installed(link, package.bundle_id)
            if found is not None and not found.is_foreign(package):
                await uninstall(link, package.bundle_id)

        # If somebody waits for the phone, they need the installed app.
        try:
            with self.reserve(wait_seconds=0.0):
                self._phone.do(remove, deadline=ASK_SECONDS, what="removing the app")
            self._ours.pop(package.bundle_id, None)
        except HarnessError as error:
            self._notify(f"the app could not be removed from {self.name}: {error.args[0]}; the next session does it")

    def _quietly(self, action: Callable[[Link], Any], what: str) -> None:
        with contextlib.suppress(HarnessError):
            self._phone.do(action, deadline=ASK_SECONDS, what=what)


def device_lock(udid: str, folder: Path | None = None) -> DeviceLock:
    """Return the lock of the phone with this UDID, independent of its opener."""
    return DeviceLock(f"ios {udid}", folder)
