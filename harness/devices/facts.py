"""Read this machine's facts from the kernel; a fact that cannot be read is None."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from harness.core.commands import run_command


def host_facts() -> dict[str, Any]:
    """Return the lasting facts: processor, cores, memory (bytes), system."""
    return {
        "cpu_model": _cpu_model(),
        "cores": _usable_cores(),
        "arch": platform.machine(),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": _memory_bytes(),
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
    }


def host_conditions() -> dict[str, Any]:
    """Return what changes from run to run: load average of a minute, clock in MHz, hottest sensor in °C."""
    try:
        load: float | None = round(os.getloadavg()[0], 2)
    except OSError:
        load = None
    return {"load_1min": load, "cpu_mhz": _clock_mhz(), "temperature_c": _temperature()}


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _usable_cores() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


def _cpuinfo(*keys: str) -> str | None:
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in keys and value.strip():
            return value.strip()
    return None


def _sysctl(name: str) -> str | None:
    if platform.system() != "Darwin":
        return None
    try:
        done = run_command(["sysctl", "-n", name], deadline=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _cpu_model() -> str | None:
    return (
        _cpuinfo("model name", "Hardware", "Model")
        or _sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or None
    )


def _clock_mhz() -> float | None:
    khz = _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    text = str(float(khz) / 1000) if khz and khz.isdigit() else _cpuinfo("cpu MHz")
    return round(float(text), 1) if text else None


def _temperature() -> float | None:
    readings = [_text(str(path)) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    degrees = [int(reading) / 1000 for reading in readings if reading and reading.lstrip("-").isdigit()]
    return max(degrees, default=None)


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"macOS {platform.mac_ver()[0]}" if platform.system() == "Darwin" else platform.platform(terse=True)
