"""Check adb and the attached phones for ``harness doctor``."""

from __future__ import annotations

import getpass
import platform
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from adbutils._utils import adb_path

from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.devices.android.attached import attached_at
from harness.devices.android.errors import AdbUnavailable
from harness.devices.android.knobs import is_refusal
from harness.devices.android.makers import setting_to_turn_on
from harness.devices.android.sections import last_line, without_noise
from harness.devices.android.server import PROTOCOL_VERSION, TROUBLE, Server
from harness.devices.android.shell import Shell
from harness.devices.kinds import Check

ASK_SECONDS = 20.0
_CHANGE_A_SETTING = """echo "maker $(getprop ro.product.manufacturer 2>/dev/null)"
trap 'settings delete global harness_doctor >/dev/null 2>&1' EXIT HUP TERM
settings put global harness_doctor 1 2>&1
echo now "$(settings get global harness_doctor 2>/dev/null | tail -n 1)"
"""
"""Changes a setting that nothing else uses and removes it again. Reading would prove nothing, because it is allowed
everywhere."""
_RULES = ("/etc/udev/rules.d", "/lib/udev/rules.d", "/usr/lib/udev/rules.d")


def adb_checks(*servers: Server) -> list[Check]:
    """Check the adb program, the servers, the rules for USB, and each device.

    No server is started unless a given one does so. A setting of our own shows whether a device lets adb
    change settings; it is removed again.
    """
    servers = servers or (Server(starts=False),)
    checks = [_program()]
    usable = []
    for server in servers:
        check = _server(server)
        checks.append(replace(check, name=f"{check.name} {server.address.name}") if len(servers) > 1 else check)
        if check.ok and server.answers():
            usable.append(server)
    if platform.system() == "Linux":
        checks.append(_usb_rules())
    for server in usable:
        checks += _devices(server, server.address.name if len(servers) > 1 else "")
    return checks


def _devices(server: Server, at: str) -> list[Check]:
    """Check a server's devices; ``at`` is its name if there are several."""
    checks: list[Check] = []
    try:
        found = attached_at(server, at)
    except HarnessError as error:
        return [Check("Android devices", False, str(error.args[0]), error.cure)]
    for device in found:
        text = device.reason or f"{device.model}, Android {device.android_version}"
        checks.append(Check(f"Android {device.serial}", device.usable, text, device.cure))
        # A phone is not disturbed while it is measured.
        if device.usable and device.held_by is None:
            checks.append(_settings(server, device.serial, device.serial.removesuffix(f"@{at}")))
    return checks


def _program() -> Check:
    cure = "pip install adbutils (it brings adb), or install Android's platform tools"
    try:
        path = str(adb_path())
        done = run_command([path, "version"], deadline=ASK_SECONDS)
    except (*TROUBLE, subprocess.TimeoutExpired) as error:
        return Check("adb", False, str(error), cure)
    first = (done.stdout or done.stderr).strip().splitlines() or [f"exit status {done.returncode}"]
    other = shutil.which("adb")
    beside = f"; {other} is in PATH" if other and Path(other).resolve() != Path(path).resolve() else ""
    return Check("adb", done.returncode == 0, f"{first[0]}{beside}", cure)


def _server(server: Server) -> Check:
    if not server.answers():
        if not server.address.local:
            return Check("adb server", False, f"none answers on {server.address}", AdbUnavailable.cure)
        return Check("adb server", True, f"none runs on {server.address}; one is started when it is needed", "")
    try:
        version = server.ask_version()
    except HarnessError as error:
        return Check("adb server", False, str(error.args[0]), error.cure)
    found = f"version 1.0.{version} on {server.address}"
    cure = f"adb kill-server: another adb started it, this harness uses 1.0.{PROTOCOL_VERSION}"
    return Check("adb server", version == PROTOCOL_VERSION, found, cure)


def _settings(server: Server, called: str, serial: str) -> Check:
    """Check whether the phone lets adb change settings.

    Some makers' phones do so only after a switch of their own is turned on.
    """
    name = f"settings of {called}"
    try:
        answer = Shell(server, serial).run(_CHANGE_A_SETTING, deadline=ASK_SECONDS, what="trying to change a setting")
    except HarnessError as error:
        return Check(name, False, str(error.args[0]), error.cure)
    text = without_noise(answer.out)
    maker = re.search(r"^maker (.*)$", text, re.MULTILINE)
    words = re.sub(r"^maker .*$", "", text, flags=re.MULTILINE)
    if last_line(words) == "now 1":
        return Check(name, True, "adb may change them", "")
    why = "refused" if is_refusal(words) else "not changed"
    advice = (
        setting_to_turn_on(maker[1].strip() if maker else None)
        or "look for a second switch next to USB debugging in Developer options"
    )
    return Check(name, False, f"{why}: {' '.join(words.split())[:200]}", advice)


def _usb_rules() -> Check:
    cure = "apt install android-sdk-platform-tools-common, and be in the group plugdev"
    # Without udev (in a container), phones are reached over TCP or through the outer machine's server.
    if not Path("/run/udev").exists():
        return Check("USB permissions", True, "no udev here; phones are reached over TCP", "")
    rules = [path for folder in _RULES for path in Path(folder).glob("*android*.rules")]
    if rules or getpass.getuser() == "root":
        return Check("USB permissions", True, rules[0].name if rules else "root reaches every device", "")
    return Check("USB permissions", False, "no udev rules for Android devices", cure)
