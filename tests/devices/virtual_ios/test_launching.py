"""Apps are launched over DVT, debugserver and appservice: what they print, how they end, what keeps them from it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from pymobiledevice3.dtx.exceptions import DTXNsError
from pymobiledevice3.exceptions import CoreDeviceError, InvalidServiceError
from pymobiledevice3.remote.core_device.app_service import AppServiceService
from pymobiledevice3.remote.core_device.open_stdio_socket import OpenStdioSocketService
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual.processes import exists, wait_until
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp
from tests.devices.virtual_ios.client import Client, WatchedControl
from tests.devices.virtual_ios.gdb import Gdb
from tests.devices.virtual_ios.running import wait_until_gone

pytestmark = pytest.mark.emulator

SIGKILL, SIGTERM = 9, 15
PRINTED = "arguments: one two\ngreeting: hëllo\nan order\n"
GIVEN = {"arguments": ["one", "two"], "environment": {"GREETING": "hëllo", "CODE": "3"}}


def test_dvt_reports_output_and_exit_code(client: Client, installed: str, phone: VirtualIphone) -> None:
    client.push("/Documents/order.txt", b"an order\n")
    assert client.launch(**GIVEN) == (PRINTED, (3, None))
    assert client.pull("/Documents/result.txt") == b"done\n"
    assert phone.processes() == []


def test_an_app_is_at_home_in_its_container_and_inherits_nothing(
    client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    client.install(app.with_(companion="#!/bin/sh\necho $0; pwd; env\n").write(tmp_path / "env.ipa"))
    lines = client.launch()[0].splitlines()
    container = phone.container(BUNDLE_ID)
    environment = dict(line.split("=", 1) for line in lines[2:])
    assert environment["HOME"] == str(container)
    assert environment["TMPDIR"] == str(container / "tmp")
    assert "USBMUXD_SOCKET_ADDRESS" in os.environ
    assert "USBMUXD_SOCKET_ADDRESS" not in environment
    assert lines[1] == "/"


def test_dvt_signals_a_process_and_launches_it_anew(client: Client, asleep: str, phone: VirtualIphone) -> None:
    async def use(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            first = await control.launch(asleep)
            assert await control.output() == "up\n"
            [running] = phone.processes()
            assert (running["pid"], running["bundle_id"]) == (first, asleep)
            assert await control.process_identifier_for_bundle_identifier(asleep) == first
            assert await control.is_debuggable(first)
            second = await control.launch(asleep)
            assert await control.watch() == ("", (None, SIGKILL))
            assert not exists(running["host_pid"])
            assert await control.output() == "up\n"
            assert await control.launch(asleep, kill_existing=False) == second
            await control.signal(second, SIGTERM)
            assert await control.watch() == ("", (None, SIGTERM))
            with pytest.raises(DTXNsError, match="No process with pid"):
                await control.kill(second)

    client.run(use, client.developer)


def test_a_process_is_launched_suspended_and_resumed(client: Client, installed: str, phone: VirtualIphone) -> None:
    async def use(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            pid = await control.launch(installed, start_suspended=True)
            assert phone.processes()[0]["host_pid"] is None
            await control.resume(pid)
            assert (await control.watch())[1] == (0, None)

    client.run(use, client.developer)


def test_an_app_outlives_the_instruments_that_launched_it(client: Client, asleep: str, phone: VirtualIphone) -> None:
    async def launch(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            await control.launch(asleep)

    client.run(launch, client.developer)
    [running] = phone.processes()
    assert exists(running["host_pid"])
    client.uninstall()
    wait_until(lambda: phone.processes() == [], "the app's end")
    assert not exists(running["host_pid"])


def test_a_debugger_launches_and_hears_of_the_end(client: Client, installed: str, phone: VirtualIphone) -> None:
    client.push("/Documents/order.txt", b"an order\n")
    executable = phone.apps()[installed]["bundle"] / "Tiny"

    async def use(provider: Any) -> None:
        gdb = await Gdb.open(provider, phone.identity.ios_version)
        assert await gdb.ask("qUnknown") == ""
        assert await gdb.launch(executable, "one", "two", environment=GIVEN["environment"]) == "OK"  # type: ignore[arg-type]
        assert await gdb.go() == (PRINTED, "W03")
        assert await gdb.ended()
        await gdb.close()

    client.run(use, client.developer)


def test_a_debugged_app_stops_before_a_signal_ends_it_and_goes_with_the_debugger(
    client: Client, asleep: str, phone: VirtualIphone
) -> None:
    executable = phone.apps()[asleep]["bundle"] / "Tiny"

    async def use(provider: Any) -> None:
        gdb = await Gdb.open(provider, phone.identity.ios_version)
        assert await gdb.launch(executable, environment={}) == "OK"
        await gdb.send("c")
        assert await gdb.receive() == "O" + b"up\n".hex()
        phone.crash(asleep, 6)
        assert (await gdb.receive()).startswith("T06thread:1;metype:5;")
        assert await gdb.ask("vCont;C06:1;c") == "X06"
        await gdb.close()
        for last_word in ("k", None):
            gdb = await Gdb.open(provider, phone.identity.ios_version)
            assert await gdb.launch(executable, environment={}) == "OK"
            await gdb.send("c")
            assert await gdb.receive() == "O" + b"up\n".hex()
            [running] = phone.processes()
            if last_word is not None:
                assert await gdb.ask(last_word) == "X09"
            await gdb.close()
            await asyncio.to_thread(wait_until_gone, running["host_pid"])

    client.run(use, client.developer)


def test_a_debugged_app_comes_to_its_fault_again_until_the_debugger_lets_go(
    client: Client, asleep: str, phone: VirtualIphone
) -> None:
    executable = phone.apps()[asleep]["bundle"] / "Tiny"
    before = phone.crash_reports()

    async def use(provider: Any) -> None:
        gdb = await Gdb.open(provider, phone.identity.ios_version)
        assert await gdb.launch(executable, environment={}) == "OK"
        await gdb.send("c")
        assert await gdb.receive() == "O" + b"up\n".hex()
        phone.crash(asleep, 11)
        stop = await gdb.receive()
        assert stop.startswith("T91thread:1;metype:1;")
        assert await gdb.ask("c") == stop
        assert await gdb.ask("C91") == "E52"
        assert await gdb.ask("vCont;C0b:1;c") == stop
        assert await gdb.ask("D") == "OK"
        assert await gdb.ended()
        await gdb.close()

    client.run(use, client.developer)
    [report] = [report for report in phone.crash_reports() if report not in before]
    assert "SIGSEGV" in report.read_text()


def test_an_app_runs_on_when_its_debugger_lets_go(client: Client, asleep: str, phone: VirtualIphone) -> None:
    executable = phone.apps()[asleep]["bundle"] / "Tiny"

    async def use(provider: Any) -> None:
        gdb = await Gdb.open(provider, phone.identity.ios_version)
        assert await gdb.launch(executable, environment={}) == "OK"
        await gdb.send("c")
        assert await gdb.receive() == "O" + b"up\n".hex()
        assert await gdb.ask("D") == "OK"
        await gdb.close()

    client.run(use, client.developer)
    [running] = phone.processes()
    assert exists(running["host_pid"])
    phone.kill(asleep)


def test_appservice_prints_to_a_socket_that_closes_with_the_app(
    clients: dict[str, Client], phones: dict[str, VirtualIphone], tmp_path: Path
) -> None:
    phone, client = phones["17"], clients["17"]
    client.install(TinyApp((phone.udid,)).write(tmp_path / "tiny.ipa"))
    client.push("/Documents/order.txt", b"an order\n")

    async def use(provider: Any) -> None:
        async with OpenStdioSocketService(provider) as stdio, AppServiceService(provider) as apps:
            token = (await apps.launch_application(BUNDLE_ID, **GIVEN, stdio_identifier=stdio.identifier))[
                "processToken"
            ]
            output = b""
            while chunk := await stdio.read():
                output += chunk
            assert output.decode() == PRINTED.replace("\n", "\r\n")
            assert token["processIdentifier"] > 0
            assert await apps.list_processes() == []
            assert [app["bundleIdentifier"] for app in await apps.list_apps()] == [BUNDLE_ID]

    client.run(use, client.tunnel)
    client.uninstall()


def test_appservice_lists_and_signals_processes(
    clients: dict[str, Client], phones: dict[str, VirtualIphone], tmp_path: Path
) -> None:
    phone, client = phones["26"], clients["26"]
    client.install(TinyApp((phone.udid,), companion="#!/bin/sh\necho up\nexec sleep 300\n").write(tmp_path / "a.ipa"))

    async def use(provider: Any) -> None:
        async with OpenStdioSocketService(provider) as stdio, AppServiceService(provider) as apps:
            await apps.launch_application(BUNDLE_ID, stdio_identifier=stdio.identifier)
            assert await stdio.read() == b"up\r\n"
            [token] = await apps.list_processes()
            await apps.send_signal_to_process(token["processIdentifier"], SIGTERM)
            assert await stdio.read() == b""
            with pytest.raises(CoreDeviceError, match="no process"):
                await apps.send_signal_to_process(token["processIdentifier"], SIGTERM)
            await apps.uninstall_app(BUNDLE_ID)

    client.run(use, client.tunnel)
    assert phone.apps() == {}


@pytest.mark.parametrize(("state", "reason"), [({"locked": True}, "Locked"), ({"trusts_developer": False}, "Security")])
def test_a_phone_refuses_to_launch_through_every_launcher(
    state: dict[str, bool], reason: str, client: Client, installed: str, phone: VirtualIphone
) -> None:
    executable = phone.apps()[installed]["bundle"] / "Tiny"
    phone.set(**state)
    with pytest.raises(DTXNsError, match=f"for reason: {reason}"):
        client.launch()

    async def debug(provider: Any) -> None:
        gdb = await Gdb.open(provider, phone.identity.ios_version)
        assert await gdb.launch(executable, environment={}) == f"E{reason}"
        await gdb.close()

    client.run(debug, client.developer)
    if phone.identity.tunnelled:

        async def launch(provider: Any) -> None:
            async with AppServiceService(provider) as apps:
                with pytest.raises(CoreDeviceError) as refused:
                    await apps.launch_application(installed)
            underlying = refused.value.user_info["NSUnderlyingError"]["userInfo"]
            assert f"for reason: {reason}" in underlying["NSLocalizedFailureReason"]

        client.run(launch, client.tunnel)
    assert phone.processes() == []


def test_apps_that_are_missing_or_have_no_companion_are_not_launched(
    client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    with pytest.raises(DTXNsError, match="for reason: NotFound"):
        client.launch()
    client.install(app.with_(companion=None).write(tmp_path / "bare.ipa"))
    with pytest.raises(DTXNsError, match="for reason: Broken"):
        client.launch()
    client.install(app.with_(companion="no program").write(tmp_path / "text.ipa"))
    with pytest.raises(DTXNsError, match="for reason: Broken"):
        client.launch()
    assert phone.processes() == []


@pytest.mark.parametrize("state", [{"image": "missing"}, {"developer_mode": False}])
def test_without_developer_mode_or_image_there_are_no_developer_services(
    state: dict[str, Any], client: Client, installed: str, phone: VirtualIphone
) -> None:
    phone.set(**state)
    with pytest.raises(InvalidServiceError):
        client.launch()
    client.push("/Documents/still", b"reached")
