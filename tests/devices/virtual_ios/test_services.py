"""The smaller services: their refusals, notifications, and what clients send that is no request."""

from __future__ import annotations

import asyncio
import contextlib
import plistlib
import random
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import ConnectionTerminatedError, PyMobileDevice3Exception
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.mobile_image_mounter import MobileImageMounterService
from pymobiledevice3.services.notification_proxy import NotificationProxyService
from pymobiledevice3.services.power_assertion import PowerAssertionService

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual.processes import wait_until
from tests.devices.virtual_ios.app import TinyApp
from tests.devices.virtual_ios.client import Client, WatchedControl

pytestmark = pytest.mark.emulator

LOCKDOWN_PORT = 62078


@pytest.fixture(params=["16"])
def ios_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def diagnostics(provider: Any) -> None:
    async with DiagnosticsService(provider) as service:
        await service.get_battery()


async def mounter(provider: Any) -> None:
    async with MobileImageMounterService(provider) as service:
        await service.copy_devices()


async def move_reports(provider: Any) -> None:
    async with CrashReportsManager(provider) as service:
        await service.flush()


async def copy_reports(provider: Any) -> None:
    async with CrashReportsManager(provider) as service:
        await service.ls()


@pytest.mark.parametrize("action", ["refuse", "close", "truncate"])
@pytest.mark.parametrize(
    ("moment", "use"),
    [
        ("diagnostics", diagnostics),
        ("mounter", mounter),
        ("crash.move", move_reports),
        ("crash.pull", copy_reports),
    ],
)
def test_a_service_fails_once(moment: str, use: Any, action: str, client: Client, phone: VirtualIphone) -> None:
    phone.fault(moment, action)
    with pytest.raises((ConnectionTerminatedError, PyMobileDevice3Exception)):
        client.run(use)
    assert phone.struck()[-1] == f"{moment} {action}"
    client.run(use)


def test_an_assertion_that_is_refused_is_not_held(client: Client, phone: VirtualIphone) -> None:
    phone.fault("assertion", "refuse")

    async def use(provider: Any) -> list[str]:
        async with PowerAssertionService(provider) as service, service.create_power_assertion("Type", "name", 60):
            return phone.assertions()

    assert client.run(use) == []
    assert client.run(use) == ["Type name"]


def test_an_observer_hears_what_it_posts(client: Client, phone: VirtualIphone) -> None:
    async def use(provider: Any) -> str:
        async with NotificationProxyService(provider, timeout=10) as service:
            await service.notify_register_dispatch("dev.harness.one")
            await service.notify_post("dev.harness.other")
            await service.notify_post("dev.harness.one")
            async for event in service.receive_notification():
                return str(event["Name"])
        return ""

    assert client.run(use) == "dev.harness.one"
    assert phone.events()[-2:] == ["notification dev.harness.other", "notification dev.harness.one"]


def test_a_phone_locks_itself_and_answers_late(
    client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    phone.fault("install.half", "lock")
    client.install(app.write(tmp_path / "tiny.ipa"))
    assert phone.state()["locked"] is True
    phone.fault("diagnostics", "slow", seconds=3600)
    phone.fault("diagnostics", "slow", seconds=0.1)

    async def use(provider: Any) -> None:
        async with DiagnosticsService(provider) as service:
            asked = asyncio.ensure_future(service.get_battery())
            await asyncio.to_thread(wait_until, lambda: "diagnostics slow" in phone.struck(), "the question")
            assert not asked.done()
            asked.cancel()

    client.run(use)
    client.run(diagnostics)
    assert phone.struck()[-2:] == ["diagnostics slow", "diagnostics slow"]


def test_the_cable_is_pulled_as_the_app_ends(client: Client, installed: str, phone: VirtualIphone) -> None:
    phone.fault("run.end", "unplug")

    async def use(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            await control.launch(installed)
            await dvt.dtx.wait_disconnected()

    client.run(use)
    phone.plug()
    assert client.pull("/Documents/result.txt") == b"done\n"


def _mux(message: dict[str, Any]) -> bytes:
    data = plistlib.dumps(message)
    return struct.pack("<IIII", 16 + len(data), 1, 8, 1) + data


def test_nonsense_ends_connections_and_nothing_else(client: Client, phone: VirtualIphone) -> None:
    chance = random.Random(5)
    host, _, port = phone.usbmux_address.partition(":")
    names = ["DeviceID", "PortNumber", "PairRecord", "PairRecordID", "HostID", "Domain", "Key", "Service", "SessionID"]
    values: list[Any] = [b"\0\1", 1 << 40, -5, "x" * 9, True, 1.5, {}, {"HostID": [1]}, [], [[1]]]
    kinds = ["Pair", "GetValue", "SetValue", "StartSession", "StartService", "Unpair", "ValidatePair", "StopSession"]
    [number] = [device.devid for device in asyncio.run(usbmux.list_devices()) if device.serial == phone.udid]
    connects = _mux({"MessageType": "Connect", "DeviceID": number, "PortNumber": socket.htons(LOCKDOWN_PORT)})
    for turn in range(150):
        fields = {name: chance.choice(values) for name in chance.sample(names, 5)}
        with socket.create_connection((host, int(port)), timeout=0.02) as stream, contextlib.suppress(OSError):
            if turn % 3 == 0:
                stream.sendall(_mux({**fields, "MessageType": chance.choice(["Connect", "SavePairRecord"])}))
            elif turn % 3 == 1:
                stream.sendall(connects)
                assert b"<integer>0</integer>" in stream.recv(1000)
                data = plistlib.dumps({**fields, "Request": chance.choice(kinds)})
                stream.sendall(struct.pack(">I", len(data)) + data)
            else:
                stream.sendall(chance.randbytes(chance.randrange(64)))
            stream.recv(1000)
    client.run(diagnostics)
