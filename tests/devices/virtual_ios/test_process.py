"""The phones' process: what it listens on, and that nothing of it outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from harness.virtual.ios import VirtualIphone, VirtualIphoneUnavailable
from tests.devices.virtual.processes import listening, sockets
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp
from tests.devices.virtual_ios.client import Client
from tests.devices.virtual_ios.running import runs, wait_until_gone

pytestmark = pytest.mark.emulator

_OWNER = """
import asyncio, sys, time
from pathlib import Path
from harness.virtual.ios import VirtualIphone
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp
from tests.devices.virtual_ios.client import Client
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl

async def launch(provider):
    async with DvtProvider(provider) as dvt, ProcessControl(dvt) as control:
        await control.launch(BUNDLE_ID)

with VirtualIphone("16") as phone:
    import os
    os.environ.update(phone.environment)
    folder = Path(sys.argv[1])
    client = Client(phone, folder / "records")
    client.install(TinyApp((phone.udid,), companion="#!/bin/sh\\nexec sleep 300\\n").write(folder / "tiny.ipa"))
    client.run(launch)
    print(phone.host.pid, phone.processes()[0]["host_pid"], flush=True)
    time.sleep(300)
"""


def start_owner(tmp_path: Path) -> tuple[subprocess.Popen[str], int, int]:
    """A process that has a phone with a running app; the pids of the phone and the app."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    phone, app = map(int, owner.stdout.readline().split())
    return owner, phone, app


def test_it_listens_on_loopback_only(phones: dict[str, VirtualIphone]) -> None:
    held = sockets(phones["17"].host.pid)
    open_ports = {inode: where for inode, where in listening().items() if inode in held}
    assert len(open_ports) > 10
    assert {address for address, _port in open_ports.values()} == {IPv4Address("127.0.0.1")}


def test_it_ends_with_its_block_and_leaves_no_files(tmp_path: Path) -> None:
    with VirtualIphone("16") as phone:
        pid, folder = phone.host.pid, phone.log.parent
        assert runs(pid)
        assert folder.exists()
    assert not runs(pid)
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        phone.unplug()


def test_it_ends_with_a_killed_owner_and_so_do_its_apps(tmp_path: Path) -> None:
    owner, phone, app = start_owner(tmp_path)
    assert runs(phone)
    assert runs(app)
    owner.kill()
    owner.wait()
    wait_until_gone(phone)
    wait_until_gone(app)


def test_apps_end_with_a_killed_phone_whose_owner_is_notified(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, VirtualIphone("16") as phone:
        for name, value in phone.environment.items():
            patch.setenv(name, value)
        client = Client(phone, tmp_path / "records")
        sleeps = TinyApp((phone.udid,), companion="#!/bin/sh\necho up\nexec sleep 300\n")
        client.install(sleeps.write(tmp_path / "tiny.ipa"))
        phone.fault("run.output", "hang")
        with pytest.raises(VirtualIphoneUnavailable, match="does not answer"):
            client.run(lambda provider: kill_at_first_output(provider, phone))


def test_without_pymobiledevice3_the_error_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the interpreter keeps of a package that is not to be found.
    monkeypatch.setitem(sys.modules, "pymobiledevice3", None)
    with pytest.raises(VirtualIphoneUnavailable, match=r"pip install 'ondevice-harness\[ios\]'"), VirtualIphone("16"):
        pass


async def kill_at_first_output(provider: Any, phone: VirtualIphone) -> None:
    from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
    from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl

    async with DvtProvider(provider) as dvt, ProcessControl(dvt) as control:
        await control.launch(BUNDLE_ID)
        app = phone.processes()[0]["host_pid"]
        os.kill(phone.host.pid, signal.SIGKILL)
        wait_until_gone(app)
        phone.processes()
