"""Debian's libimobiledevice tools drive a virtual iPhone: a client that shares nothing with pymobiledevice3."""

from __future__ import annotations

import os
import plistlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual.processes import wait_until
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp, make_executable

pytestmark = pytest.mark.emulator

DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def alone() -> Iterator[VirtualIphone]:
    with VirtualIphone("16") as phone:
        yield phone


def tool(phone: VirtualIphone, *command: str, succeeds: bool = True) -> str:
    """What a tool prints; it must end as expected."""
    done = subprocess.run(
        command,
        env=os.environ | phone.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    output = done.stdout + done.stderr
    assert (done.returncode == 0) == succeeds, f"{command}: {done.returncode}\n{output}"
    return output


def debug(phone: VirtualIphone, output: Path, *command: str) -> str:
    """What a debugged app prints; Debian's idevicedebug goes on when the app has ended, until it is interrupted."""
    with output.open("w") as stream:
        debugger = subprocess.Popen(
            ["idevicedebug", *command],
            env=os.environ | phone.environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: phone.events()[-1] == f"exit {BUNDLE_ID} code 0", "the app's end")
            wait_until(lambda: "greeting" in output.read_text(), "the app's output")
        finally:
            debugger.send_signal(signal.SIGINT)
            debugger.wait(DEADLINE_SECONDS)
    return output.read_text()


def test_it_pairs_installs_runs_and_removes(alone: VirtualIphone, tmp_path: Path) -> None:
    ipa = TinyApp((alone.udid,)).write(tmp_path / "tiny.ipa")
    assert tool(alone, "idevice_id", "-l").split() == [alone.udid]
    assert "SUCCESS" in tool(alone, "idevicepair", "pair")
    assert "SUCCESS" in tool(alone, "idevicepair", "validate")
    assert tool(alone, "ideviceinfo", "-k", "ProductVersion").strip() == alone.os_version
    assert "BatteryCurrentCapacity: 80" in tool(alone, "ideviceinfo", "-q", "com.apple.mobile.battery")
    assert "Install: Complete" in tool(alone, "ideviceinstaller", "-i", str(ipa))
    assert "Upgrade: Complete" in tool(alone, "ideviceinstaller", "-g", str(ipa))
    assert f'{BUNDLE_ID}, "1"' in tool(alone, "ideviceinstaller", "-l")
    debugged = debug(alone, tmp_path / "output", "-e", "GREETING=hello", "run", BUNDLE_ID, "one", "two")
    assert "arguments: one two\ngreeting: hello\n" in debugged
    assert (alone.container(BUNDLE_ID) / "Documents/result.txt").read_text() == "done\n"
    assert "Uninstall: Complete" in tool(alone, "ideviceinstaller", "-U", BUNDLE_ID)
    assert alone.apps() == {}
    assert [event.split()[0] for event in alone.events()] == [
        "pair", "install", "upgrade", "launch", "exit", "uninstall",
    ]  # fmt: skip


def test_it_hears_a_phones_refusals(alone: VirtualIphone, tmp_path: Path) -> None:
    unsigned = TinyApp((alone.udid,), executable=make_executable(signed=False)).write(tmp_path / "unsigned.ipa")
    assert "ApplicationVerificationFailed" in tool(alone, "ideviceinstaller", "-i", str(unsigned), succeeds=False)
    tool(alone, "idevicepair", "unpair")
    alone.set(pairing="asks")
    assert "Please accept the trust dialog" in tool(alone, "idevicepair", "pair", succeeds=False)
    alone.set(pairing="refuses")
    assert "denied the trust dialog" in tool(alone, "idevicepair", "pair", succeeds=False)
    alone.set(pairing="trusts", locked=True)
    assert "passcode is set" in tool(alone, "idevicepair", "pair", succeeds=False)
    alone.set(locked=False)
    assert "SUCCESS" in tool(alone, "idevicepair", "pair")


def test_it_reads_the_battery_images_and_crash_reports(alone: VirtualIphone, tmp_path: Path) -> None:
    tool(alone, "idevicepair", "pair")
    alone.set(battery_temperature=3456)
    registry = plistlib.loads(tool(alone, "idevicediagnostics", "ioregentry", "IOPMPowerSource").encode())
    assert registry["IORegistry"]["Temperature"] == 3456
    assert "ImagePresent: true" in tool(alone, "ideviceimagemounter", "-l")
    aborts = TinyApp((alone.udid,), companion="#!/bin/sh\nkill -6 $$\n").write(tmp_path / "aborts.ipa")
    tool(alone, "ideviceinstaller", "-i", str(aborts))
    tool(alone, "idevicedebug", "run", BUNDLE_ID)
    assert alone.events()[-1] == f"exit {BUNDLE_ID} signal 6 crash"
    (tmp_path / "reports").mkdir()
    tool(alone, "idevicecrashreport", str(tmp_path / "reports"))
    [report] = (tmp_path / "reports").glob("*.ips")
    assert "SIGABRT" in report.read_text()
    assert alone.crash_reports() == []
