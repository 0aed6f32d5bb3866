"""Write reports of how apps ended, as a phone does: ``.ips`` files, a line of JSON before a body of JSON."""

from __future__ import annotations

import json
import signal
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.virtual.ios.app import App
from harness.virtual.ios.state import Identity

CRASH, JETSAM = "309", "298"
_EXCEPTIONS = {
    signal.SIGSEGV: "EXC_BAD_ACCESS",
    signal.SIGBUS: "EXC_BAD_ACCESS",
    signal.SIGILL: "EXC_BAD_INSTRUCTION",
    signal.SIGFPE: "EXC_ARITHMETIC",
    signal.SIGTRAP: "EXC_BREAKPOINT",
}


class Crashes:
    """Manage the folder from which clients copy crash reports."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self._identity = identity
        folder.mkdir(parents=True)
        if identity.version >= (26,):
            # From iOS 26 on the folder holds more than reports.
            (folder / "BioLog").mkdir()
            (folder / "Retired").mkdir()
            (folder / "Retired" / "Somebody-2026-01-01-000000.ips.ca.synced").write_text("{}\n", encoding="utf-8")

    def all(self) -> list[Path]:
        return sorted(self.folder.rglob("*.ips"))

    def write(self, app: App, pid: int, number: int, reason: str) -> Path | None:
        """Report that an app ended by a signal; return None if a phone writes no report."""
        if reason == "jetsam":
            return self._jetsam(app, pid)
        if reason not in ("crash", "watchdog"):
            return None
        name = app.executable.name
        code = signal.Signals(number)
        termination: dict[str, Any] = {"flags": 0, "code": number, "namespace": "SIGNAL"}
        termination["indicator"] = signal.strsignal(number) or code.name
        if reason == "watchdog":
            termination = {
                "flags": 518,
                "code": 0x8BADF00D,
                "namespace": "FRONTBOARD",
                "reasons": [
                    f"<RBSTerminateContext| domain:10 code:0x8BADF00D explanation:scene-create watchdog transgression: "
                    f"app<{app.bundle_id}>:{pid} exhausted real (wall clock) time allowance"
                ],
            }
        body = {
            "pid": pid,
            "procName": name,
            "procPath": str(app.executable),
            "procRole": "Foreground",
            "bundleInfo": {"CFBundleIdentifier": app.bundle_id},
            "cpuType": "ARM-64",
            "modelCode": self._identity.product_type,
            "exception": {"type": _EXCEPTIONS.get(code, "EXC_CRASH"), "signal": code.name, "codes": "0x0, 0x0"},
            "termination": termination,
            "faultingThread": 0,
            "threads": [_thread(pid)],
            "usedImages": [],
        }
        return self._write(name, CRASH, {"app_name": name, "bundleID": app.bundle_id, "name": name}, body)

    def _jetsam(self, app: App, pid: int) -> Path:
        name = app.executable.name
        victim = {"pid": pid, "name": name, "reason": "per-process-limit", "states": ["frontmost"], "rpages": 1}
        body = {"largestProcess": name, "memoryStatus": {"pageSize": 16384}, "processes": [victim]}
        return self._write("JetsamEvent", JETSAM, {}, body)

    def _write(self, name: str, kind: str, header: dict[str, Any], body: dict[str, Any]) -> Path:
        now = datetime.now(timezone.utc)
        stamp = now.strftime("%Y-%m-%d %H:%M:%S.00 +0000")
        identity = self._identity
        system = f"iPhone OS {identity.os_version} ({identity.build})"
        incident = str(uuid.uuid4()).upper()
        header = {**header, "timestamp": stamp, "bug_type": kind, "os_version": system, "incident_id": incident}
        body = {**body, "captureTime": stamp, "incident": incident, "osVersion": {"train": system}}
        path = self.folder / f"{name}-{now:%Y-%m-%d-%H%M%S}-{now.microsecond:06}.ips"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(header) + "\n" + json.dumps(body, indent=2) + "\n", encoding="utf-8")
        new.rename(path)
        return path


def _thread(pid: int) -> dict[str, Any]:
    """Return the thread that ended. An arm64 processor's state does not exist here, so all of it is zero."""
    registers = {name: {"value": 0} for name in ("lr", "fp", "sp", "pc", "cpsr", "far", "esr")}
    state = {"x": [{"value": 0} for _ in range(29)], "flavor": "ARM_THREAD_STATE64", **registers}
    return {"id": pid, "triggered": True, "queue": "com.apple.main-thread", "threadState": state, "frames": []}
