"""What a test orders to go wrong goes wrong, at the moment that it names, and the phone is whole again afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.dtx.exceptions import DTXNsError
from pymobiledevice3.dtx.service import QueueShutDown
from pymobiledevice3.exceptions import (
    AfcException,
    AppInstallError,
    ConnectionFailedError,
    ConnectionTerminatedError,
    CoreDeviceError,
    DeviceNotFoundError,
    InvalidServiceError,
    NoDeviceConnectedError,
    PyMobileDevice3Exception,
    StartServiceError,
)
from pymobiledevice3.remote.core_device.app_service import AppServiceService
from pymobiledevice3.remote.core_device.open_stdio_socket import OpenStdioSocketService
from pymobiledevice3.services.afc import AfcError
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.tunneld.api import get_tunneld_device_by_udid

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual.processes import wait_until
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp
from tests.devices.virtual_ios.client import Client, WatchedControl

pytestmark = pytest.mark.emulator

GONE = (
    ConnectionTerminatedError,
    NoDeviceConnectedError,
    DeviceNotFoundError,
    ConnectionError,
    asyncio.IncompleteReadError,
)


@pytest.fixture(params=["16"])
def ios_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def push(client: Client) -> None:
    client.push("/Documents/x", b"x" * 1000)


def pull(client: Client) -> None:
    client.pull("/Documents/there")


def launch(client: Client) -> None:
    client.launch()


@pytest.mark.parametrize("action", ["close", "truncate", "unplug"])
@pytest.mark.parametrize(
    ("moment", "use"),
    [
        ("lockdown.session", push),
        ("start:com.apple.mobile.house_arrest", push),
        ("house_arrest.vend", push),
        ("afc.open", push),
        ("afc.write", push),
        ("afc.read", pull),
        ("dvt.launch", launch),
    ],
)
def test_a_connection_ends_in_the_midst(
    moment: str, use: Any, action: str, client: Client, installed: str, phone: VirtualIphone
) -> None:
    client.push("/Documents/there", b"there")
    # pymobiledevice3 connects anew when lockdownd hangs up on it.
    phone.fault(moment, action, times=1 if action == "unplug" else 4)
    with pytest.raises((*GONE, DTXNsError, PyMobileDevice3Exception)):
        use(client)
    assert phone.struck()[-1] == f"{moment} {action}"
    phone.clear_faults()
    phone.plug()
    use(client)


def test_a_phone_that_was_unplugged_while_it_ran_an_app_still_runs_it(
    client: Client, asleep: str, phone: VirtualIphone
) -> None:
    async def use(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            await control.launch(asleep)
            assert await control.output() == "up\n"
            phone.unplug()
            await dvt.dtx.wait_disconnected()
        listed = await usbmux.list_devices(usbmux_address=phone.usbmux_address)
        assert phone.udid not in [device.serial for device in listed]

    client.run(use)
    assert [running["bundle_id"] for running in phone.processes()] == [asleep]
    phone.plug()
    client.push("/Documents/back", b"again")


def test_usbmuxd_notifies_listeners_of_plugging(phone: VirtualIphone, phones: dict[str, VirtualIphone]) -> None:
    async def listen() -> None:
        async with await usbmux.create_mux(usbmux_address=phone.usbmux_address) as mux:
            await mux.listen()
            for _ in phones:
                await mux.receive_device_state_update()
            before = {device.serial: device.devid for device in mux.devices}
            phone.unplug()
            await mux.receive_device_state_update()
            assert phone.udid not in {device.serial for device in mux.devices}
            phone.plug()
            await mux.receive_device_state_update()
            after = {device.serial: device.devid for device in mux.devices}
            assert after.keys() == before.keys()
            assert after[phone.udid] > before[phone.udid]

    asyncio.run(asyncio.wait_for(listen(), 20))


@pytest.mark.parametrize("moment", ["install.begin", "install.half"])
@pytest.mark.parametrize("action", ["close", "truncate", "unplug", "refuse"])
def test_an_install_that_fails_midway_leaves_the_old_app(
    moment: str, action: str, client: Client, app: TinyApp, installed: str, phone: VirtualIphone, tmp_path: Path
) -> None:
    before = phone.apps()
    phone.fault(moment, action, error="NoSpace")
    with pytest.raises((AppInstallError, *GONE)):
        client.install(app.with_(version="2").write(tmp_path / "two.ipa"))
    assert phone.apps() == before
    phone.plug()
    client.install(app.with_(version="2").write(tmp_path / "two.ipa"))
    assert phone.apps()[installed]["version"] == "2"


def test_services_refuse_in_their_own_words(client: Client, installed: str, phone: VirtualIphone) -> None:
    phone.fault("usbmux.connect", "refuse")
    with pytest.raises(ConnectionFailedError):
        push(client)
    phone.fault("start:com.apple.mobile.house_arrest", "refuse")
    with pytest.raises(InvalidServiceError):
        push(client)
    phone.fault("start:com.apple.mobile.house_arrest", "refuse", error="ServiceProhibited")
    with pytest.raises((StartServiceError, PyMobileDevice3Exception), match="ServiceProhibited"):
        push(client)
    phone.fault("afc.write", "refuse", error="NO_SPACE_LEFT")
    with pytest.raises(AfcException) as refused:
        push(client)
    assert refused.value.status == AfcError.NO_SPACE_LEFT
    phone.fault("house_arrest.vend", "refuse")
    with pytest.raises(PyMobileDevice3Exception, match="InstallationLookupFailed"):
        push(client)
    phone.fault("dvt.launch", "refuse", error="Busy")
    with pytest.raises(DTXNsError, match="Busy"):
        launch(client)
    push(client)
    assert client.launch()[1] == (0, None)


@pytest.mark.parametrize("moment", ["lockdown.query", "afc.write", "dvt.launch"])
def test_a_service_hangs_until_the_cable_is_pulled(
    moment: str, client: Client, installed: str, phone: VirtualIphone
) -> None:
    phone.fault(moment, "hang")

    async def use(provider: Any) -> None:
        if moment == "dvt.launch":
            async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
                await control.launch(installed)
        else:
            async with await HouseArrestService.create(provider, installed, documents_only=True) as files:
                await files.set_file_contents("/Documents/x", b"x")

    async def wait() -> None:
        async def whole() -> None:
            async with client.cable() as provider:
                await use(provider)

        task = asyncio.ensure_future(whole())
        while f"{moment} hang" not in phone.struck():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not task.done()
        phone.unplug()
        with pytest.raises((*GONE, PyMobileDevice3Exception)):
            await task

    asyncio.run(asyncio.wait_for(wait(), 20))


def test_output_that_hangs_comes_loose_with_the_cable(client: Client, installed: str, phone: VirtualIphone) -> None:
    phone.fault("run.output", "hang")

    async def use(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            await control.launch(installed)
            await asyncio.to_thread(wait_until, lambda: "run.output hang" in phone.struck(), "the output")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(control.output(), 0.2)
            assert phone.processes() != []
            phone.unplug()

    client.run(use)
    wait_until(lambda: phone.processes() == [], "the app's end")
    assert phone.events()[-1] == f"exit {installed} code 0"


def test_a_fault_waits_for_its_turn(client: Client, installed: str, phone: VirtualIphone) -> None:
    phone.fault("afc.write", "close", after=2)

    async def use(provider: Any) -> None:
        async with await HouseArrestService.create(provider, installed, documents_only=True) as files:
            handle = await files.fopen("/Documents/x", "w")
            await files.fwrite(handle, b"x")
            await files.fwrite(handle, b"x")
            with pytest.raises(ConnectionTerminatedError):
                await files.fwrite(handle, b"x")

    client.run(use)
    assert (phone.container(installed) / "Documents/x").read_bytes() == b"xx"


@pytest.mark.parametrize(
    ("action", "details", "ends"),
    [("crash", {"signal": 6}, (None, 6)), ("jetsam", {}, (None, 9)), ("watchdog", {}, (None, 9))],
)
def test_an_app_is_ended_at_its_first_output(
    action: str, details: dict[str, int], ends: tuple[None, int], client: Client, asleep: str, phone: VirtualIphone
) -> None:
    phone.fault("run.output", action, **details)
    assert client.launch() == ("up\n", ends)
    [report] = phone.crash_reports()
    report.unlink()


def test_output_is_cut_off_and_the_app_goes_on(client: Client, installed: str, phone: VirtualIphone) -> None:
    phone.fault("run.output", "close")
    with pytest.raises(QueueShutDown):
        client.launch()
    wait_until(lambda: phone.processes() == [], "the app's end")
    assert phone.events()[-1] == f"exit {installed} code 0"


def test_the_tunnel_drops_and_comes_back(
    clients: dict[str, Client], phones: dict[str, VirtualIphone], tmp_path: Path
) -> None:
    phone, client = phones["17"], clients["17"]
    client.install(
        TinyApp((phone.udid,), companion="#!/bin/sh\necho up\nexec sleep 300\n").write(tmp_path / "asleep.ipa")
    )

    async def use(provider: Any) -> None:
        async with OpenStdioSocketService(provider) as stdio, AppServiceService(provider) as apps:
            await apps.launch_application(BUNDLE_ID, stdio_identifier=stdio.identifier)
            assert await stdio.read() == b"up\r\n"
            phone.drop_tunnel()
            assert await stdio.read() == b""
            with pytest.raises((*GONE, PyMobileDevice3Exception)):
                await apps.list_processes()
        assert phone.tunneld is not None
        assert await get_tunneld_device_by_udid(phone.udid, phone.tunneld) is None

    client.run(use, client.tunnel)
    assert phone.processes() != []
    client.push("/Documents/cable", b"is still there")
    phone.raise_tunnel()

    async def again(provider: Any) -> None:
        async with AppServiceService(provider) as apps:
            assert len(await apps.list_processes()) == 1

    client.run(again, client.tunnel)
    client.uninstall()


def test_appservice_refuses_and_is_cut_off(
    clients: dict[str, Client], phones: dict[str, VirtualIphone], tmp_path: Path
) -> None:
    phone, client = phones["17"], clients["17"]
    client.install(TinyApp((phone.udid,)).write(tmp_path / "tiny.ipa"))

    async def launch(provider: Any) -> None:
        async with AppServiceService(provider) as apps:
            await apps.launch_application(BUNDLE_ID)

    phone.fault("appservice.launch", "refuse", error="Busy")
    with pytest.raises(CoreDeviceError, match="Busy"):
        client.run(launch, client.tunnel)
    for action in ("close", "truncate"):
        phone.fault("appservice.launch", action)
        with pytest.raises((*GONE, PyMobileDevice3Exception)):
            client.run(launch, client.tunnel)
    phone.fault("rsd.handshake", "close")
    with pytest.raises((*GONE, IndexError, AssertionError)):
        client.run(launch, client.tunnel)
    client.run(launch, client.tunnel)
    client.uninstall()


def test_an_order_that_makes_no_sense_is_refused(phone: VirtualIphone) -> None:
    with pytest.raises(ValueError, match="no fault 'explode'"):
        phone.fault("afc.write", "explode")
    with pytest.raises(ValueError, match="no state 'mood'"):
        phone.set(mood="good")
    with pytest.raises(ValueError, match="pairing is one of"):
        phone.set(pairing="maybe")
    with pytest.raises(ValueError, match="16, 17 or 26"):
        VirtualIphone("15")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not run"):
        phone.crash("dev.nobody")
