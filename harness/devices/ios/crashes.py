"""Pull the crash report of a dead app from the phone, and summarize it in a line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import posixpath
from dataclasses import dataclass
from typing import Any

from pymobiledevice3.services.crash_reports import CrashReportsManager

from harness.devices.ios.explained import TROUBLE
from harness.devices.ios.link import Link

ENDING = ".ips"
MAX_BYTES = 4 * 2**20
POLL_SECONDS = 0.25
FLUSH_SECONDS = 5.0
WATCHDOG = 0x8BADF00D
FRAMES = 4


@dataclass(frozen=True)
class Crash:
    """Hold a crash: ``summary`` is one line for a person; ``report`` is kept with the result."""

    summary: str
    report: dict[str, Any]


async def find_crash(link: Link, executable: str, pid: int | None, began: float, seconds: float) -> Crash | None:
    """Find the crash report of the process ``pid``, waiting up to ``seconds``, and remove it from the phone.

    If ``pid`` is None, it is the newest one that is not older than ``began`` (the phone's clock, seconds since 1970).
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    seen: set[str] = set()
    while True:
        async with CrashReportsManager(await link.lockdown()) as reports:
            with contextlib.suppress(*TROUBLE):
                await asyncio.wait_for(reports.flush(), FLUSH_SECONDS)
            for path in await reports.ls("/"):
                name = posixpath.basename(path)
                if path in seen or not (name.startswith(f"{executable}-") and name.endswith(ENDING)):
                    continue
                seen.add(path)
                information = await reports.afc.stat(path)
                if information["st_size"] > MAX_BYTES:
                    continue
                crash = parse_crash((await reports.afc.get_file_contents(path)).decode(errors="replace"))
                ours = crash is not None and (
                    crash.report["pid"] == pid if pid is not None else information["st_mtime"].timestamp() >= began
                )
                if ours:
                    await reports.afc.rm_single(path, force=True)
                    return crash
        if loop.time() >= until:
            return None
        await asyncio.sleep(POLL_SECONDS)


def parse_crash(text: str) -> Crash | None:
    """Parse an .ips file: a line of JSON, then an object of JSON. Returns None if it is none."""
    head, _, body = text.partition("\n")
    try:
        header, report = json.loads(head), json.loads(body)
    except ValueError:
        return None
    if not isinstance(header, dict) or not isinstance(report, dict):
        return None
    exception, termination = _part(report, "exception"), _part(report, "termination")
    frames = _frames(report)
    kept = {
        "pid": report.get("pid"),
        "exception": exception.get("type"),
        "signal": exception.get("signal"),
        "termination": termination.get("indicator"),
        "code": termination.get("code"),
        "frames": frames,
        "incident": header.get("incident_id"),
    }
    return Crash(_summary(kept, termination, report), kept)


def _summary(kept: dict[str, Any], termination: dict[str, Any], report: dict[str, Any]) -> str:
    parts = [" ".join(str(word) for word in (kept["exception"], kept["signal"]) if word)]
    if kept["code"] == WATCHDOG:
        parts.append("0x8badf00d: the system's watchdog ended it, because it took too long to start or to answer")
    elif kept["termination"]:
        parts.append(str(kept["termination"]))
    details = [*_words(termination.get("details")), *_words(termination.get("reasons"))]
    for lines in _part(report, "asi").values():
        details += _words(lines)
    parts += details[:2]
    if kept["frames"]:
        parts.append("in " + " < ".join(kept["frames"]))
    return "; ".join(part for part in parts if part)[:400]


def _frames(report: dict[str, Any]) -> list[str]:
    """Return the innermost functions of the thread that failed."""
    threads = report.get("threads")
    if not isinstance(threads, list):
        return []
    failed = [thread for thread in threads if isinstance(thread, dict) and thread.get("triggered")]
    frames = failed[0].get("frames") if failed else None
    named = [str(frame["symbol"]) for frame in frames or [] if isinstance(frame, dict) and frame.get("symbol")]
    return named[:FRAMES]


def _part(report: dict[str, Any], key: str) -> dict[str, Any]:
    found = report.get(key)
    return found if isinstance(found, dict) else {}


def _words(value: object) -> list[str]:
    return [str(line).strip() for line in value] if isinstance(value, list) else []
