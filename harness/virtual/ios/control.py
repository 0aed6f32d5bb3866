"""Answer a test's orders and questions to a running phone, as calls by name with JSON in and out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from harness.virtual.ios.faults import Fault
from harness.virtual.ios.phone import Phone


class Control:
    """Answer the calls to one phone. Each raises ValueError, KeyError or TypeError for arguments that make no sense."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._calls: dict[str, Callable[..., Any]] = {
            "set": lambda **values: phone.state.change(values),
            "state": lambda: dataclasses.asdict(phone.state),
            "fault": self._fault,
            "clear_faults": phone.faults.clear,
            "struck": lambda: list(phone.faults.struck),
            "unplug": phone.unplug,
            "plug": phone.plug,
            "drop_tunnel": phone.drop_tunnel,
            "raise_tunnel": phone.raise_tunnel,
            "apps": self._apps,
            "processes": self._processes,
            "end": self._end,
            "crash_reports": lambda: [str(path) for path in phone.crashes.all()],
            "media": lambda: str(phone.media),
            "pairings": phone.pairings.hosts,
            "unpair": phone.pairings.forget,
            "events": lambda: list(phone.events),
            "assertions": lambda: list(phone.assertions),
        }

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return self._calls[name](**arguments)

    def _fault(self, moment: str, action: str, after: int, times: int | None, details: dict[str, Any]) -> None:
        self._phone.faults.add(Fault(moment, action, after, times, details))

    def _apps(self) -> dict[str, Any]:
        return {
            app.bundle_id: {
                "version": app.info["CFBundleVersion"],
                "bundle": str(app.bundle),
                "container": str(app.container),
            }
            for app in self._phone.apps.all()
        }

    def _processes(self) -> list[dict[str, Any]]:
        return [
            {
                "pid": running.pid,
                "bundle_id": running.app.bundle_id,
                "arguments": running.arguments,
                "environment": running.environment,
                "host_pid": running.process.pid if running.process is not None else None,
            }
            for running in self._phone.processes.all()
        ]

    def _end(self, bundle_id: str, reason: str, signal: int) -> None:
        running = self._phone.processes.of(bundle_id)
        if running is None:
            raise ValueError(f"{bundle_id} does not run")
        self._phone.processes.end(running, reason, signal)
