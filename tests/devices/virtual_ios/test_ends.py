"""How a phone ends an app, and what it writes of it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp
from tests.devices.virtual_ios.client import Client, WatchedControl
from tests.devices.virtual_ios.running import wait_until_gone

pytestmark = pytest.mark.emulator

SIGABRT, SIGKILL, SIGSEGV = 6, 9, 11


@pytest.fixture(params=["16"])
def ios_version(request: pytest.FixtureRequest) -> str:
    """What ends apps is the same on both, and the report's way over the tunnel is tested once."""
    return str(request.param)


def ended(client: Client, phone: VirtualIphone, how: Any) -> tuple[int | None, int | None]:
    """Launch the sleeping app, let ``how`` happen while it runs; its exit code or signal."""

    async def use(provider: Any) -> tuple[int | None, int | None]:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            await control.launch(BUNDLE_ID)
            assert await control.output() == "up\n"
            how()
            code, signal = (await control.watch())[1]
            return code, signal

    return client.run(use, client.developer)


def reports(client: Client, phone: VirtualIphone) -> list[tuple[Any, str]]:
    """All reports, as a client copies them, with their text; they are removed."""

    async def copy(provider: Any) -> list[tuple[Any, str]]:
        async with CrashReportsManager(provider) as manager:
            await manager.flush()
            names = await manager.ls()
            found = [
                (await manager.parse(name), (await manager.afc.get_file_contents(name)).decode()) for name in names
            ]
            await manager.clear()
            return found

    found = client.run(copy)
    assert phone.crash_reports() == []
    return found


@pytest.mark.parametrize(("signal", "exception"), [(SIGSEGV, "EXC_BAD_ACCESS"), (SIGABRT, "EXC_CRASH")])
def test_a_crash_is_reported(signal: int, exception: str, client: Client, asleep: str, phone: VirtualIphone) -> None:
    assert ended(client, phone, lambda: phone.crash(asleep, signal)) == (None, signal)
    [(report, text)] = reports(client, phone)
    assert report.exception_type == exception
    assert report.name == "Tiny"
    assert asleep in text


def test_the_watchdog_is_named_in_its_report(client: Client, asleep: str, phone: VirtualIphone) -> None:
    assert ended(client, phone, lambda: phone.watchdog(asleep)) == (None, SIGKILL)
    [(_report, text)] = reports(client, phone)
    assert "0x8BADF00D" in text
    assert str(0x8BADF00D) in text


def test_the_watchdog_ends_an_app_that_does_not_come_up_and_a_quick_one_in_peace(
    client: Client, asleep: str, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    phone.set(launch_watchdog_seconds=0.2)
    assert ended(client, phone, lambda: None) == (None, SIGKILL)
    assert len(reports(client, phone)) == 1
    phone.set(launch_watchdog_seconds=20)
    client.install(app.write(tmp_path / "quick.ipa"))
    assert client.launch()[1] == (0, None)
    assert reports(client, phone) == []


def test_jetsam_writes_an_event_of_its_own(client: Client, asleep: str, phone: VirtualIphone) -> None:
    assert ended(client, phone, lambda: phone.jetsam(asleep)) == (None, SIGKILL)
    [(report, text)] = reports(client, phone)
    assert str(report.bug_type_str) == "298"
    assert "per-process-limit" in text


def test_an_app_that_aborts_by_itself_is_reported_and_one_that_a_client_ends_is_not(
    client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    client.install(app.with_(companion="#!/bin/sh\nkill -6 $$\n").write(tmp_path / "aborts.ipa"))
    assert client.launch()[1] == (None, SIGABRT)
    assert len(reports(client, phone)) == 1
    client.install(app.with_(companion="#!/bin/sh\necho up\nexec sleep 300\n").write(tmp_path / "asleep.ipa"))
    ended(client, phone, lambda: phone.kill(BUNDLE_ID))
    assert reports(client, phone) == []


def test_what_an_app_started_goes_with_it(client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path) -> None:
    client.install(app.with_(companion="#!/bin/sh\nsleep 300 &\necho $!\nexit 4\n").write(tmp_path / "forks.ipa"))
    output, how = client.launch()
    assert how == (4, None)
    wait_until_gone(int(output))


async def quiet(control: WatchedControl) -> None:
    """Wait until nothing more arrives of what was under way."""
    with contextlib.suppress(asyncio.TimeoutError):
        while True:
            await asyncio.wait_for(control.output(), 0.3)


def test_a_suspended_app_prints_nothing_more(
    client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    talks = "#!/bin/sh\nwhile :; do echo tick; sleep 0.02; done\n"
    client.install(app.with_(companion=talks).write(tmp_path / "talks.ipa"))

    async def use(provider: Any) -> None:
        async with DvtProvider(provider) as dvt, WatchedControl(dvt) as control:
            pid = await control.launch(BUNDLE_ID)
            assert "tick" in await control.output()
            phone.suspend(BUNDLE_ID)
            await quiet(control)
            await control.resume(pid)
            assert "tick" in await control.output()

    client.run(use, client.developer)
