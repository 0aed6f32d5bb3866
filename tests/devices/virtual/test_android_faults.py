"""Virtual devices and servers that die, fill up or cannot be had, and harness processes that die over them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from adbutils import AdbError

from harness.core.cache import Cache
from harness.virtual.android import (
    AdbServer,
    Packages,
    VirtualAndroid,
    VirtualDeviceUnavailable,
    provide_packages,
    virtual_androids,
)
from harness.virtual.android.device import free_port, listens
from harness.virtual.child import Child
from harness.virtual.workspace import workspace
from tests.devices.virtual.processes import WAIT_SECONDS, exists, sandbox_processes, wait_until

pytestmark = pytest.mark.emulator

TMP = "/data/local/tmp"
HOLD_TWO = """
import sys, time
from pathlib import Path
from harness.core.cache import Cache
from harness.virtual.android import virtual_androids
cache = Cache(Path(sys.argv[1]))
with virtual_androids(2, cache=cache, progress=lambda _message: None, data_bytes=1 << 20) as (server, devices):
    held = [server, *devices, *(device._memory for device in devices)]
    print(*(one.pid for one in held), devices[0].folder.parent, flush=True)
    time.sleep(600)
"""


def state(server: AdbServer, device: VirtualAndroid) -> str | None:
    return {info.serial: info.state for info in server.client.list()}.get(device.serial)


def view(server: AdbServer, device: VirtualAndroid) -> Any:
    return server.client.device(device.serial)


def test_a_pulled_cable_is_seen_and_mended(user_cache: Cache) -> None:
    with virtual_androids(1, cache=user_cache, progress=print) as (server, [device]):
        view(server, device).shell2(f"echo kept > {TMP}/file", v2=True)
        threading.Timer(0.3, device.kill).start()
        # AdbError if this machine is so busy that the cable is pulled before the command is sent.
        with pytest.raises((EOFError, OSError, AdbError)):
            view(server, device).shell2("sleep 100", v2=True, timeout=WAIT_SECONDS)
        wait_until(lambda: state(server, device) != "device", "the loss being seen by the server")
        assert not device.alive
        assert not listens(device.port)
        serial = device.serial
        device.restart()
        server.connect(serial)
        assert device.serial == serial
        assert view(server, device).shell2(f"cat {TMP}/file", v2=True).stdout == "kept\n"


def test_a_device_started_by_a_thread_outlives_it(packages: Packages, tmp_path: Path) -> None:
    with (
        AdbServer(tmp_path / "server", packages=packages) as server,
        VirtualAndroid(tmp_path / "device", packages=packages) as device,
    ):
        timer = threading.Timer(0, device.restart)
        timer.start()
        timer.join()
        server.connect(device.serial)
        assert view(server, device).shell2("echo still here; sleep 0.3", v2=True).stdout == "still here\n"
        assert device.alive


def test_a_reboot_takes_the_device_away(packages: Packages, tmp_path: Path) -> None:
    with (
        AdbServer(tmp_path / "server", packages=packages) as server,
        VirtualAndroid(tmp_path / "device", packages=packages) as device,
    ):
        server.connect(device.serial)
        with contextlib.suppress(EOFError, OSError):
            view(server, device).shell2("reboot", v2=True, timeout=WAIT_SECONDS)
        wait_until(lambda: not device.alive, "the device going down")
        device.start()
        server.connect(device.serial)
        assert view(server, device).shell2("true", v2=True).returncode == 0


def test_a_dead_server_is_not_replaced_behind_our_back(packages: Packages, tmp_path: Path) -> None:
    with (
        AdbServer(tmp_path / "server", packages=packages) as server,
        VirtualAndroid(tmp_path / "device", packages=packages) as device,
    ):
        server.connect(device.serial)
        server.kill()
        with pytest.raises(Exception, match="connect to adb server failed"):
            server.client.list()
        assert not listens(server.port)
        server.start()
        server.connect(device.serial)
        assert state(server, device) == "device"


def test_data_without_space_left(user_cache: Cache, tmp_path: Path) -> None:
    with virtual_androids(1, cache=user_cache, progress=print, data_bytes=4 << 20) as (server, [device]):
        adb = view(server, device)
        full = adb.shell2(f"dd if=/dev/zero of={TMP}/full bs=64k count=1000", v2=True)
        assert full.returncode != 0
        assert "No space left on device" in full.stderr
        assert (device.data / "local/tmp/full").stat().st_size == 4 << 20
        device.restart()
        server.connect(device.serial)
        assert view(server, device).shell2(f"stat -c %s {TMP}/full", v2=True).stdout == f"{4 << 20}\n"
        (tmp_path / "more").write_bytes(bytes(1 << 20))
        with pytest.raises(Exception, match=r"FAIL|No space"):
            view(server, device).sync.push(tmp_path / "more", f"{TMP}/more", check=True)
        view(server, device).shell2(f"rm {TMP}/full {TMP}/more", v2=True)
        view(server, device).sync.push(tmp_path / "more", f"{TMP}/more", check=True)


def test_a_work_folder_that_cannot_be_written(packages: Packages, tmp_path: Path) -> None:
    with (
        AdbServer(tmp_path / "server", packages=packages) as server,
        VirtualAndroid(tmp_path / "device", packages=packages) as device,
    ):
        server.connect(device.serial)
        (device.data / "local/tmp").chmod(0o555)
        refused = view(server, device).shell2(f"mkdir {TMP}/work", v2=True)
        assert refused.returncode != 0
        assert "Permission denied" in refused.stderr


def test_nothing_is_left_of_a_fleet(user_cache: Cache) -> None:
    with virtual_androids(2, cache=user_cache, progress=print, data_bytes=1 << 20) as (server, devices):
        for device in devices:
            view(server, device).shell2("sleep 600 > /dev/null 2>&1 &", v2=True)
        everything: list[AdbServer | VirtualAndroid] = [server, *devices]
        pids = [pid for one in everything for pid in sandbox_processes(one.pid or 0)]
        assert len(pids) >= 8
        folder = devices[0].folder.parent
        assert folder.is_dir()
    assert not [pid for pid in pids if exists(pid)]
    assert not folder.exists()
    assert not folder.with_name(folder.name + ".lock").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_nothing_is_left_of_a_harness_that_ended(how: signal.Signals, packages: Packages, user_cache: Cache) -> None:
    assert packages.folder.is_dir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_TWO, str(user_cache.root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        *numbers, name = process.stdout.readline().split()
        pids = [pid for number in numbers for pid in sandbox_processes(int(number))]
        assert len(numbers) == 5
        assert len(pids) >= 10
        folder = Path(name)
        assert folder.is_dir()
        process.send_signal(how)
        process.wait(WAIT_SECONDS)
    wait_until(lambda: not any(exists(pid) for pid in pids), "the end of every process")
    if how is signal.SIGKILL:
        assert folder.is_dir(), "nobody was left to remove it"
        with workspace():
            assert not folder.exists(), "a dead process's folder outlived the next start"
    assert not folder.exists()
    assert not folder.with_name(folder.name + ".lock").exists()


def test_a_living_neighbours_folder_is_left_alone(tmp_path: Path) -> None:
    with workspace(tmp_path) as first, workspace(tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.lock"]


def test_a_folder_without_permissions_is_removed(packages: Packages, tmp_path: Path) -> None:
    """By a user whom permissions bind, as root they do not."""
    code = (
        "import sys; from pathlib import Path; from harness.virtual.workspace import remove_tree\n"
        "deep = Path(sys.argv[1], 'tree/a/b'); deep.mkdir(parents=True); (deep / 'file').touch()\n"
        "deep.chmod(0); deep.parent.chmod(0)\n"
        "try: list(deep.iterdir())\n"
        "except PermissionError: print('denied', flush=True)\n"
        "remove_tree(deep.parent.parent); print('removed')"
    )
    sandbox = [*packages.sandbox, "--unshare-user", "--uid", "1234", "--cap-drop", "ALL", "--dev-bind", "/", "/"]
    child = Child(sandbox, [sys.executable, "-c", code, str(tmp_path)], tmp_path / "output")
    wait_until(lambda: not child.alive, "the end of the program")
    assert (tmp_path / "output").read_text() == "denied\nremoved\n"
    assert not (tmp_path / "tree").exists()


def test_the_command_for_people_runs_until_it_is_ended(packages: Packages, user_cache: Cache) -> None:
    command = [sys.executable, "-m", "harness.virtual.android"]
    environment = os.environ | {"HARNESS_CACHE_DIR": str(user_cache.root)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        serial = process.stdout.readline().strip()
        shell = process.stdout.readline().split()
        done = subprocess.run(
            [*shell, "getprop ro.product.model"], capture_output=True, text=True, timeout=30, check=True
        )
        assert done.stdout == "Virtual Android 1\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
    assert not listens(int(serial.rpartition(":")[2]))


def test_a_port_that_is_taken_is_named(packages: Packages, tmp_path: Path) -> None:
    port = free_port()
    with VirtualAndroid(tmp_path / "first", packages=packages, port=port):
        second = VirtualAndroid(tmp_path / "second", packages=packages, port=port)
        with pytest.raises(VirtualDeviceUnavailable, match=f"port {port} is taken"):
            second.start()
        assert not second.alive
        with pytest.raises(VirtualDeviceUnavailable, match=f"port {port} is taken"):
            AdbServer(tmp_path / "server", packages=packages, port=port).start()


def test_a_kernel_that_gives_no_namespaces_is_named(packages: Packages, user_cache: Cache, tmp_path: Path) -> None:
    """bubblewrap itself forbids them to what it runs."""
    code = (
        "import sys; from pathlib import Path; from harness.core.cache import Cache;"
        "from harness.virtual.android import provide_packages;"
        "provide_packages(Cache(Path(sys.argv[1])), print)"
    )
    sandbox = [*packages.sandbox, "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]
    child = Child(sandbox, [sys.executable, "-c", code, str(user_cache.root)], tmp_path / "output")
    wait_until(lambda: not child.alive, "the end of the program")
    output = (tmp_path / "output").read_text()
    assert "VirtualDeviceUnavailable: bubblewrap cannot make the namespaces" in output
    assert "max_user_namespaces" in output


def test_a_machine_without_apt_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VirtualDeviceUnavailable, match="apt-get and dpkg were not found"):
        provide_packages(Cache(tmp_path / "empty"), print)
