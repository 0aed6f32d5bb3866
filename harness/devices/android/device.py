"""Provide ``--device android``: one Android device, reached through the adb server."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.devices.android.appfiles import AppFiles
from harness.devices.android.conditions import parse_conditions, unfit
from harness.devices.android.facts import AndroidFacts, parse_facts
from harness.devices.android.job import AndroidJob
from harness.devices.android.knobs import PINNED, SCREEN, parse_knobs, restored, verified
from harness.devices.android.listing import Listed, identity, listed
from harness.devices.android.makers import setting_to_turn_on
from harness.devices.android.mode import AS_APP
from harness.devices.android.observed import parse_observed
from harness.devices.android.options import AndroidOptions
from harness.devices.android.program import AppProgram, Program, ShellProgram
from harness.devices.android.recovery import connect
from harness.devices.android.server import Server
from harness.devices.android.shell import Answer, Shell, script
from harness.devices.android.store import RunnerStore
from harness.devices.android.workfolder import WorkFolders
from harness.devices.appfiles import check_names
from harness.devices.base import (
    DEFAULT_DEADLINE,
    Knob,
    Notify,
    OnPush,
    OnRecord,
    RunnerDescription,
    RunResult,
    description_of,
    silent,
)
from harness.devices.errors import DeviceLost, RunnerUnusable
from harness.devices.lock import DeviceLock
from harness.devices.outcome import Outcome, as_result, reason_of
from harness.devices.remote import RemoteDevice, merge_again
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder

if TYPE_CHECKING:
    from harness.devices.android.app import Apps

ASK_SECONDS = 30.0
CLEAN_SECONDS = 15.0
_ABIS = {"arm64-v8a": "android-arm64", "x86_64": "android-x86_64"}


@dataclass(frozen=True)
class _Place:
    """Hold a folder of the device that contains work folders and runners."""

    base: str
    folders: WorkFolders
    store: RunnerStore


class AndroidDevice(RemoteDevice):
    """Use one Android device; see :class:`harness.devices.base.Device`.

    ``place`` is one of the server's transports, or a serial. ``launcher`` precedes every runner's command line.
    ``notify`` gets messages outside of calls that take their own. ``cache`` keeps the apps of app mode.
    Raises AdbUnavailable, AdbMismatch, DeviceLost, DeviceUnauthorized, or RunnerUnusable for an ABI that no model is
    compiled for.
    """

    companion = None

    def __init__(
        self,
        server: Server,
        place: Listed | str,
        *,
        launcher: tuple[str, ...] = (),
        emulated: bool = False,
        kind: str = "android",
        options: AndroidOptions | None = None,
        lock_folder: Path | None = None,
        notify: Notify = silent,
        cache: Cache | None = None,
    ) -> None:
        self.kind = kind
        self.emulated = emulated
        self._server = server
        self._launcher = launcher
        self._options = options or AndroidOptions()
        self._session = uuid.uuid4().hex[:8]
        connect(server, place if isinstance(place, str) else place.serial)
        known = listed(server)
        if isinstance(place, str):
            place = next((info for info in known if info.is_called(place)), place)
        self._shell = Shell(server, place)
        self.serial = self._shell.serial
        self._facts = self._read_facts()
        # Baselines, noise floors and histories are found by the name: those of an app are apart from the shell's.
        self.name = f"{self._facts.model} ({self.serial})" + (AS_APP if self._options.mode == "app" else "")
        self.target = _target(self._facts, self.name)
        # This is not adb's serial, because a phone has one by cable and another over Wi-Fi.
        at = self._shell.adb.place
        self.hardware = identity(self._facts.hardware_serial, at, known, server.address)
        self._shell.hardware = self._facts.hardware_serial
        self._shell.stays = self.hardware != identity(self._facts.hardware_serial, at, (), server.address)
        super().__init__(
            device_lock(self.hardware, lock_folder),
            notify=notify,
            grace_seconds=self._options.grace_seconds,
            settle_poll_seconds=self._options.settle_poll_seconds,
        )
        self._computer = computer_name(self._lock.folder)
        self._places: dict[str, _Place] = {}
        self._apps = self._open_apps(cache) if self._options.mode == "app" else None

    def is_same_phone(self, other: AndroidDevice) -> bool:
        """Return whether the other is this phone by another way: it has the same serial and the same start."""
        starts = {self._facts.boot, other._facts.boot} - {None}
        return self.hardware == other.hardware and len(starts) < 2

    def facts(self) -> dict[str, Any]:
        return {**self._lasting(self.serial), "android_mode": self._options.mode, **self._facts.facts}

    def deploy(self, runner: Path, *, on_push: OnPush | None = None) -> str:
        """Return the path of the runner on the device, or in app mode the app's package."""
        with self.reserve(), self._running():
            store = self._place(None).store
            if self._apps is not None:
                return self._apps.install(store, runner, self._closing.is_set, on_push).package
            return store.deploy(runner, self._closing.is_set, on_push).path

    def describe(self, runner: Path, *, deadline: float = 60.0) -> RunnerDescription:
        place = self._place(None)
        with self.reserve(), self._running(), self._program(place, runner) as program:
            if self._apps is None:
                answer = self._describe(program, runner, deadline, script("describe"))
            else:
                answer = self._describe_app(self._apps, place, program, runner, deadline)
            program.verify()
        out, _, status = answer.out.rpartition("\nstatus ")
        if status.strip() != "0":
            ending = ending_of(int(status)) if re.fullmatch(r"\d{1,3}\s*", status) else "gave no exit status"
            raise RunnerUnusable(f"{runner.name} --describe on {self.serial} {ending}{quoted(answer.err.encode())}")
        return description_of(out, runner)

    def _describe(self, program: Program, runner: Path, deadline: float, text: str, *before: str) -> Answer:
        limit = f"{max(1.0, deadline):.0f}"
        command = [*program.command("", None), "--describe"]
        what = f"{runner.name} --describe"
        return self._shell.run(text, *before, limit, *command, deadline=deadline, what=what)

    def _describe_app(self, apps: Apps, place: _Place, program: Program, runner: Path, deadline: float) -> Answer:
        """Let the app describe itself: in a work folder, with the screen on."""
        with self._work_folder(place) as folder:
            wanted = SCREEN if SCREEN in self._options.knobs else ""
            self._shell.run(script("apply"), folder, "", wanted, deadline=ASK_SECONDS, what="waking the screen")
            text = 'cd "$1" || exit 119\nshift\n' + script("describe")
            answer = self._describe(program, runner, deadline, text, folder)
            apps.end(folder)
            self._finish(folder, "", [])
        apps.refuse_not_started(answer.err)
        return answer

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        """Run an order; see the protocol. ``workdir`` is a folder of the device.

        If the device is lost before the runner was started, that is an error. If it is lost afterwards, the result is
        incomplete and contains everything that had arrived.
        """
        began = time.monotonic()
        with self.reserve(), self._running():
            place = self._place(workdir)
            with self._work_folder(place) as folder, self._program(place, runner) as program:
                mask = self._facts.topology.mask(order.threads)
                knobs = self._set_knobs(folder, mask)
                self._report_denied(knobs, setting_to_turn_on(self._facts.facts["manufacturer"]) or "")
                pinned = any(knob.name == PINNED and knob.state == "applied" for knob in knobs)
                mask_of_run = mask if pinned else ""
                outcome = AndroidJob(
                    self._shell,
                    place.store,
                    folder,
                    program.command(mask_of_run, order),
                    order,
                    self._terms(deadline, on_record, lambda: merge_again(knobs, self._set_knobs(folder, mask))),
                    mask=program.shell_mask(mask_of_run),
                    watch=self._options.watch,
                    apps=self._apps,
                ).run()
                knobs, observed = self._finish(folder, program.path, knobs)
                outcome = self._verified(program, outcome)
            wall = time.monotonic() - began
            return as_result(order, outcome, reason_of(outcome), wall=wall, knobs=knobs, observed=observed)

    def send_to_app(self, app: str, source: Path, name: str) -> None:
        """Write a file in a user's app; see :class:`harness.devices.appfiles.OpensApps`."""
        check_names(app, name)
        with self.reserve(), self._running():
            self._app_files().send(app, source, name)

    def fetch_from_app(self, app: str, name: str, target: Path) -> int:
        """Copy a file of a user's app; see :class:`harness.devices.appfiles.OpensApps`."""
        check_names(app, name)
        with self.reserve(), self._running():
            return self._app_files().fetch(app, name, target)

    def _app_files(self) -> AppFiles:
        place = self._place(None)
        return AppFiles(self._shell, place.store, place.base, self.name)

    def close(self) -> None:
        """Close the device; see the protocol. A run in progress is ended and cleaned up, from any thread."""
        if self._stopped():
            for place in self._places.values():
                place.store.discard_all()
            if self._apps is not None:
                self._apps.remove_all()

    def _place(self, workdir: Path | None) -> _Place:
        base = str(PurePosixPath(workdir) if workdir else self._options.base)
        if base not in self._places:
            folders = WorkFolders(self._shell, base, self._computer, self._session, self._notify)
            store = RunnerStore(self._shell, base, f"{self._session}.{self._computer}", self._notify)
            self._places[base] = _Place(base, folders, store)
        return self._places[base]

    def _read_facts(self) -> AndroidFacts:
        try:
            return self._ask_facts()
        except DeviceLost:
            # The server only notices a dead connection when it is used; now it has noticed.
            connect(self._server, self._shell.adb.place.serial)
            return self._ask_facts()

    def _ask_facts(self) -> AndroidFacts:
        return parse_facts(self._shell.run(script("facts"), deadline=ASK_SECONDS, what="reading facts").out)

    def _conditions(self) -> dict[str, Any]:
        answer = self._shell.run(script("conditions"), deadline=ASK_SECONDS, what="reading conditions")
        return parse_conditions(answer.out)

    def _unfit(self, conditions: dict[str, Any]) -> str | None:
        return unfit(conditions)

    def _set_knobs(self, folder: str, mask: str) -> list[Knob]:
        """Apply the wanted knobs. The work folder keeps the values from before, from the first time on."""
        wanted = " ".join(self._options.knobs)
        answer = self._shell.run(script("apply"), folder, mask, wanted, deadline=ASK_SECONDS, what="setting the knobs")
        return parse_knobs(answer.out, mask)

    def _finish(self, folder: str, runner: str, knobs: list[Knob]) -> tuple[list[Knob], dict[str, Any]]:
        """Clean up, and return the knobs and observations.

        The device is as it was before, or the knobs report what is not.
        """
        try:
            answer = self._shell.run(script("finish"), folder, runner, deadline=CLEAN_SECONDS, what="cleaning up")
        except HarnessError as error:
            self._notify(f"{self.name} could not be cleaned up: {error.args[0]}; the next run does it")
            return restored(knobs, ""), {}
        observed, allowed, undone = parse_observed(answer.out)
        knobs = restored(verified(knobs, allowed), undone)
        for knob in knobs:
            if knob.restored is False:
                self._notify(f"{knob.name} of {self.name} is not as it was before: {knob.detail}")
        return knobs, observed

    def _verified(self, program: Program, outcome: Outcome) -> Outcome:
        """Verify the runner, and return the outcome, with a doubt if its contents have changed or are unknown."""
        try:
            program.verify()
        except HarnessError as error:
            if outcome.reader.missing() and (outcome.lost or outcome.trouble):
                return outcome
            parts = [part for part in (outcome.trouble, str(error.args[0])) if part]
            return replace(outcome, trouble="; ".join(parts))
        return outcome

    @contextlib.contextmanager
    def _work_folder(self, place: _Place) -> Iterator[str]:
        """Make a work folder for one run, and remove it afterwards.

        If the device cannot be reached then, the next start removes it.
        """
        name = f"harness-{self._computer}-{uuid.uuid4().hex}"
        folder = f"{place.base}/{name}"
        try:
            place.folders.make(name)
            yield folder
        except BaseException:
            with contextlib.suppress(HarnessError):
                self._shell.run(script("kill"), folder, deadline=CLEAN_SECONDS, what="ending the runner")
                if self._apps is not None:
                    self._apps.end(folder)
                self._shell.run(script("finish"), folder, "", deadline=CLEAN_SECONDS, what="cleaning up")
            raise

    @contextlib.contextmanager
    def _program(self, place: _Place, runner: Path) -> Iterator[Program]:
        """Bring a runner onto the device for the context; in the shell, one that was not verified in it is not kept."""
        if self._apps is not None:
            yield AppProgram(self._apps, self._apps.install(place.store, runner, self._closing.is_set))
            return
        store = place.store
        deployed = store.deploy(runner, self._closing.is_set)
        try:
            yield ShellProgram(store, deployed, self._launcher)
        except RunnerUnusable:
            # A torn runner cannot be started either, and the torn transfer is the error to report.
            store.verify(deployed)
            raise
        finally:
            store.discard(deployed)

    def _open_apps(self, cache: Cache | None) -> Apps:
        from harness.devices.android.app import Apps  # it signs apps, which runs in the shell need not load

        abi = next(abi for abi, target in _ABIS.items() if target == self.target)
        maker = self._facts.facts["manufacturer"] or ""
        return Apps(self._shell, abi, maker, cache or Cache(), self._options)


def device_lock(serial: str, folder: Path | None = None) -> DeviceLock:
    """Return the lock of the device with this serial, independent of its opener."""
    return DeviceLock(f"android {serial}", folder)


def computer_name(lock_folder: Path) -> str:
    """Return a name for this computer's work folders; users who share its locks share the name."""
    host = re.sub(r"[^A-Za-z0-9]", "", platform.node())[:20] or "computer"
    return f"{host}.{hashlib.sha256(f'{platform.node()} {lock_folder}'.encode()).hexdigest()[:8]}"


def _target(facts: AndroidFacts, name: str) -> str:
    for abi in facts.abis:
        if abi in _ABIS:
            return _ABIS[abi]
    raise RunnerUnusable(
        f"{name} has none of the ABIs {', '.join(_ABIS)}, but {', '.join(facts.abis) or 'it reports none'}",
        cure="use a device with a 64-bit Android",
    )
