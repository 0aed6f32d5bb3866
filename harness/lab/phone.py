"""Offer one device to a lab: its card, its health between orders, its leases one after another."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.store import FileStore
from harness.core.text import shown_line
from harness.devices.base import Device, Notify, Rearms, silent
from harness.devices.errors import (
    DeviceBusy,
    DeviceError,
    DeviceNotReady,
    IncompleteResult,
    RunnerUnusable,
)
from harness.lab.errors import PhoneRefused
from harness.lab.labels import Label, labels_of, labels_of_conditions
from harness.lab.lease import Lease, Method
from harness.lab.quarantine import Quarantine
from harness.lab.runners import Runners
from harness.lab.wire import LEASE_SECONDS, PROTOCOL, Card, RunEnd, State, Waiter, harness_version
from harness.protocol.schema import WorkOrder

LOCAL_LOOK_SECONDS = 1.0
"""How often a phone that somebody uses on its own host is tried again."""
KEPT_SECONDS = 120.0
"""How long an ended lease can still be looked at."""
MOST_WAITERS = 20
"""So many of those who wait are on a phone's card."""
_OTHERS_FAULT = (RunnerUnusable, DeviceBusy, DeviceNotReady, IncompleteResult, PhoneRefused)
"""Errors that are not a failure of the phone."""
MOST_ORDER_BYTES = 256 * 2**20


class Phone:
    """Offer a device under ``host/serial``. ``notify`` gets what the agent's owner should see."""

    def __init__(
        self,
        host: str,
        serial: str,
        device: Device,
        *,
        store: FileStore,
        runners: Runners,
        quarantine: Quarantine,
        lease_seconds: float = LEASE_SECONDS,
        notify: Notify = silent,
    ) -> None:
        self.name = f"{host}/{serial}"
        self.device = device
        self.broken = False
        """True if the device has to be opened again before it can be used."""
        self._host, self._serial = host, serial
        self._store, self._runners, self._quarantine, self._notify = store, runners, quarantine, notify
        self._lease_seconds = lease_seconds
        self._facts = device.facts()
        emulated = {**self._facts, "emulated": device.emulated}
        self._labels = labels_of(self.name, host, serial, device.target, emulated)
        self._changing: dict[str, Label] = {}
        self._health: tuple[State, str] = ("free", "")
        self._holder = ""
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._leases: dict[str, tuple[Lease, float]] = {}
        """Every lease with the time at which it was last seen alive."""
        self._lease: Lease | None = None
        self._serving = False
        """Whether a thread serves the leases that wait."""
        self._checked = 0.0

    def card(self) -> str:
        """Return what the lab may know of the phone, as the JSON of a :class:`Card`."""
        state, reason = self._health
        holder = self._holder
        with self._lock:
            lease = self._lease
            waiting = [one for one, _ in self._leases.values() if one.state == "waiting" and one is not lease]
        if (quarantined := self._quarantine.of(self.name)) is not None:
            state, reason = "quarantined", quarantined.reason
        elif lease is not None:
            state, reason, holder = "held", "", lease.owner
        return Card(
            protocol=PROTOCOL,
            harness=harness_version(),
            name=self.name,
            host=self._host,
            serial=self._serial,
            device=self.device.name,
            kind=self.device.kind,
            target=self.device.target,
            companion=self.device.companion,
            emulated=self.device.emulated,
            store=self._store.url,
            labels={**self._labels, **self._changing},
            facts=self._facts,
            state=state,
            reason=shown_line(reason, most=500),
            holder=shown_line(holder, most=100),
            waiting=len(waiting),
            queue=[Waiter(owner=one.owner, seconds=max(0.0, one.waited)) for one in waiting[:MOST_WAITERS]],
            work=lease.work if lease is not None else None,
        ).model_dump_json()

    @property
    def busy(self) -> bool:
        """Return whether a client has the phone or waits for it, also while its order is being ended."""
        with self._lock:
            return self._lease is not None or any(one.state != "ended" for one, _ in self._leases.values())

    @property
    def holder(self) -> str:
        """Return which client has the phone now, empty if none has."""
        with self._lock:
            return self._lease.owner if self._lease is not None else ""

    def lease(self, lease: str) -> Lease | None:
        """Return the lease of that id, if there is or was one lately."""
        with self._lock:
            found = self._leases.get(lease)
        return found[0] if found else None

    def expect(self, lease: str, owner: str, wait_seconds: float, priority: int = 0) -> Lease:
        """Return the lease of that id; if its client asks for it the first time, make it and let it wait its turn."""
        with self._lock:
            if lease not in self._leases:
                made = Lease(
                    lease,
                    shown_line(owner, most=100),
                    wait_seconds=wait_seconds,
                    stop=self.device.stop,
                    priority=priority,
                    seconds=self._lease_seconds,
                )
                self._leases[lease] = (made, time.monotonic())
                if not self._serving:
                    self._serving = True
                    threading.Thread(target=self._serve_all, name=f"leases of {self.name}", daemon=True).start()
            return self._leases[lease][0]

    def tick(self) -> None:
        """End leases whose clients are gone, and forget old ones."""
        now = time.monotonic()
        with self._lock:
            leases = list(self._leases.items())
        for key, (lease, seen) in leases:
            with self._lock:
                if lease.state != "ended":
                    self._leases[key] = (lease, now)
                elif now - seen > KEPT_SECONDS:
                    del self._leases[key]
            lease.expire()

    def _serve_all(self) -> None:
        """Serve the leases that wait one after another, those of a higher priority first, until none waits."""
        while (lease := self._next()) is not None:
            self._serve_safely(lease)

    def _serve_safely(self, lease: Lease) -> None:
        try:
            self.serve(lease)
        except Exception as error:  # a fault of ours, which must not keep the others from the phone
            self._notify(f"{self.name} failed while it served: {type(error).__name__}: {error}")
            lease.end(f"the agent failed: {type(error).__name__}: {error}")

    def _next(self) -> Lease | None:
        with self._lock:
            # In the order of their arrival, of which max() takes the first.
            waiting = [one for one, _ in self._leases.values() if one.state == "waiting"]
            found = max(waiting, key=lambda one: one.priority, default=None)
            self._serving = found is not None
            return found

    def serve(self, lease: Lease) -> None:
        """Wait for the lease's turn, hold the device for it, and answer its calls until it ends."""
        while not self._turn.acquire(timeout=0.25):
            if lease.ended:
                return
        try:
            if lease.ended:
                return
            with self._lock:
                self._lease = lease
            self._hold(lease)
        except HarnessError as error:
            lease.end(str(error.args[0]), error)
        finally:
            lease.end("the phone was given back")
            with self._lock:
                self._lease = None
            if isinstance(self.device, Rearms):
                self.device.rearm()
            else:
                self.broken = True
            self._turn.release()

    def end(self, reason: str) -> None:
        """End every lease, from any thread."""
        with self._lock:
            leases = [lease for lease, _ in self._leases.values()]
        for lease in leases:
            lease.end(reason)

    def release(self) -> bool:
        """End a quarantine; return whether there was one."""
        self._checked = 0.0
        return self._quarantine.release(self.name)

    def check(self, every_seconds: float) -> None:
        """Look at the phone's health if nobody uses it, and not more often than that."""
        if time.monotonic() - self._checked < every_seconds or not self._turn.acquire(blocking=False):
            return
        try:
            self._checked = time.monotonic()
            try:
                with self.device.reserve(wait_seconds=0):
                    self._health, self._holder = self._look(), ""
            except DeviceBusy as error:
                self._health, self._holder = ("held", str(error.args[0])), "a run on its own host"
            except HarnessError as error:
                self._health = ("unreachable", str(error.args[0]))
        finally:
            self._turn.release()
        if self._health[0] == "unreachable":
            self._failed(self._health[1])

    def _look(self) -> tuple[State, str]:
        conditions = self.device.conditions()
        if (reason := conditions.get("unavailable")) is not None:
            return "unreachable", str(reason)
        self._changing = labels_of_conditions(conditions)
        try:
            self.device.settle(wait_seconds=0)
        except DeviceNotReady as error:
            return "resting", str(error.args[0])
        return "free", ""

    def _hold(self, lease: Lease) -> None:
        if (quarantined := self._quarantine.of(self.name)) is not None:
            raise PhoneRefused(f"{self.name} is in quarantine: {quarantined.reason}")
        with contextlib.ExitStack() as stack:
            if self._reserved(lease, stack):
                lease.serve(self._methods(lease), self._call_failed)

    def _reserved(self, lease: Lease, stack: contextlib.ExitStack) -> bool:
        """Hold the device's local lock for the context; return False if the client is gone first."""
        until, reported = time.monotonic() + lease.wait_seconds, False
        while not lease.ended:
            try:
                stack.enter_context(self.device.reserve(wait_seconds=LOCAL_LOOK_SECONDS, notify=silent))
            except DeviceBusy as error:
                if time.monotonic() > until:
                    raise
                if not reported:
                    lease.notice(f"{self.name} is used on its own host; waiting ({error.args[0]})")
                    reported = True
                continue
            return True
        return False

    def _methods(self, lease: Lease) -> dict[str, Method]:
        device = self.device

        def deploy(arguments: dict[str, Any]) -> str:
            runner = self._runner(lease, arguments)
            return device.deploy(runner, on_push=lease.push)

        def describe(arguments: dict[str, Any]) -> Any:
            runner = self._runner(lease, arguments)
            return device.describe(runner, deadline=float(arguments["deadline"])).model_dump(mode="json")

        def settle(arguments: dict[str, Any]) -> None:
            device.settle(wait_seconds=float(arguments["wait_seconds"]), notify=lease.notice)

        def run(arguments: dict[str, Any]) -> Any:
            runner = self._runner(lease, arguments)
            order = self._order(str(arguments["order"]))
            result = device.run(
                runner,
                order,
                deadline=float(arguments["deadline"]),
                on_record=lambda record: lease.record(record.model_dump_json()),
            )
            if not result.complete and lease.ended:
                # The device only reports that it was stopped.
                result = replace(result, reason=f"{self.name}: {lease.reason}")
            if result.complete:
                self._quarantine.succeeded(self.name)
            elif (lost := device.conditions().get("unavailable")) is not None:
                self._failed(str(lost))
            return RunEnd.of(result).model_dump(mode="json")

        return {
            "deploy": deploy,
            "describe": describe,
            "settle": settle,
            "run": run,
            "conditions": lambda _arguments: device.conditions(),
        }

    def _runner(self, lease: Lease, arguments: dict[str, Any]) -> Path:
        """Return the runner's file on this host, fetched from the store the first time."""
        return self._runners.path(str(arguments["runner"]), str(arguments.get("suffix", "")), lease.notice)

    def _order(self, sha256: str) -> WorkOrder:
        """Return an order from the store. It is not kept, since no other will be like it."""
        return WorkOrder.model_validate_json(self._store.fetch_bytes(sha256, MOST_ORDER_BYTES))

    def _call_failed(self, error: HarnessError) -> None:
        """Count the error of a client's call if it is the phone's."""
        if isinstance(error, DeviceError) and not isinstance(error, _OTHERS_FAULT):
            self._failed(str(error.args[0]))

    def _failed(self, reason: str) -> None:
        if self._quarantine.failed(self.name, shown_line(reason, most=500)):
            self._notify(f"{self.name} is in quarantine: {reason}; harness lab release {self.name} ends it")
