"""What a virtual Android device does while all is well, seen through adbutils and the real adb server."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import time
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from harness.virtual.android import AdbServer, Core, Packages, VirtualAndroid
from tests.devices.virtual.processes import listening, sandbox_processes, sockets

pytestmark = pytest.mark.emulator

TMP = "/data/local/tmp"


def shell(adb: Any, command: str) -> str:
    """The output of a command that must succeed."""
    done = adb.shell2(command, v2=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_exit_codes_and_both_outputs_arrive_apart(adb: Any) -> None:
    done = adb.shell2("echo out; echo err >&2; exit 3", v2=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert adb.shell2("kill -9 $$", v2=True).returncode == 137


def test_it_is_an_unprivileged_arm64_phone(adb: Any) -> None:
    assert shell(adb, "id -un; id -u; uname -m; getprop ro.product.cpu.abi").split() == [
        "shell", "2000", "aarch64", "arm64-v8a",
    ]  # fmt: skip
    assert "su: inaccessible or not found" in adb.shell2("su -c id", v2=True).stderr
    for command in ("touch /data/x", "ls /data/misc", "echo 1 > /sys/devices/system/cpu/online"):
        denied = adb.shell2(command, v2=True)
        assert denied.returncode != 0
        assert "Permission denied" in denied.stderr
    assert adb.shell2("echo x | tr x y | dd bs=1 count=1 2>/dev/null", v2=True).stdout == "y"


def test_twenty_megabytes_there_and_back(adb: Any, tmp_path: Path) -> None:
    data = random.Random(7).randbytes(20 << 20)
    (tmp_path / "there").write_bytes(data)
    adb.sync.push(tmp_path / "there", f"{TMP}/big", check=True)
    assert shell(adb, f"sha256sum {TMP}/big").split()[0] == hashlib.sha256(data).hexdigest()
    adb.sync.pull(f"{TMP}/big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    shell(adb, f"rm {TMP}/big")


def test_an_arm64_program_runs_through_the_launcher(adb: Any, device: VirtualAndroid, arm64_program: Path) -> None:
    adb.sync.push(arm64_program, f"{TMP}/square", check=True)
    [launcher] = device.launcher
    done = adb.shell2(f"chmod 755 {TMP}/square && {launcher} {TMP}/square 15", v2=True)
    assert (done.stdout, done.returncode) == ("225\n", 7)
    plain = adb.shell2(f"{TMP}/square 15", v2=True)
    assert plain.returncode != 0, "it ran without the launcher: the machine has binfmt_misc, or it is no arm64 program"


def test_every_core_of_its_topology_can_be_pinned_to(adb: Any) -> None:
    listed = shell(adb, "cd /sys/devices/system/cpu; for c in cpu[0-9]*; do echo $c $(cat $c/cpu_capacity); done")
    capacities = {int(line.split()[0][3:]): int(line.split()[1]) for line in listed.splitlines()}
    assert set(capacities) == os.sched_getaffinity(0)
    assert max(capacities.values()) == 1024
    for cpu in capacities:
        pinned = shell(adb, f"taskset {1 << cpu:x} grep Cpus_allowed_list /proc/self/status")
        assert pinned.split()[1] == str(cpu)


def test_a_topology_of_ones_own(tmp_path: Path, packages: Packages) -> None:
    cores = [Core(cpu, 1_800_000 if cpu < 4 else 2_850_000, 0xD05) for cpu in range(8)]
    device = VirtualAndroid(tmp_path / "eight", packages=packages, cores=cores)
    shown = device.folder / "sys/devices/system/cpu"
    assert len(list(shown.glob("cpu[0-9]*"))) == 8
    assert (shown / "cpu7/cpufreq/cpuinfo_max_freq").read_text() == "2850000\n"
    assert (device.folder / "proc/cpuinfo").read_text().count("CPU part") == 8


def test_the_framework_prints_what_a_test_chooses(adb: Any, device: VirtualAndroid) -> None:
    device.set_battery(level=17, temperature_tenths=412, powered=False)
    battery = shell(adb, "dumpsys battery")
    assert "  level: 17\n" in battery
    assert "  temperature: 412\n" in battery
    assert "  USB powered: false\n" in battery
    device.set_thermal_status(3)
    assert "Thermal Status: 3\n" in shell(adb, "dumpsys thermalservice")
    shell(adb, "cmd thermalservice override-status 5")
    assert "Thermal Status: 5\n" in shell(adb, "dumpsys thermalservice")
    shell(adb, "cmd thermalservice reset")
    assert "Thermal Status: 0\n" in shell(adb, "dumpsys thermalservice")
    device.set_property("ro.build.version.sdk", "29")
    assert shell(adb, "getprop ro.build.version.sdk") == "29\n"
    assert "[ro.build.version.sdk]: [29]\n" in shell(adb, "getprop")
    device.set_dumpsys("weather", "rain\n")
    assert shell(adb, "dumpsys weather") == "rain\n"
    device.set_dumpsys("weather", None)
    assert "Can't find service: weather" in adb.shell2("dumpsys weather", v2=True).stderr


def test_batteries_are_set_and_reset_from_the_shell(adb: Any) -> None:
    before = shell(adb, "dumpsys battery")
    shell(adb, "dumpsys battery set level 3; dumpsys battery set ac 1; dumpsys battery set temp 500")
    changed = shell(adb, "dumpsys battery")
    assert "  level: 3\n" in changed
    assert "  AC powered: true\n" in changed
    assert "  temperature: 500\n" in changed
    shell(adb, "dumpsys battery reset")
    assert shell(adb, "dumpsys battery") == before


def test_what_was_set_through_adb_is_read_back(adb: Any, device: VirtualAndroid) -> None:
    assert device.fixed_performance is None
    for value in (True, False):
        shell(adb, f"cmd power set-fixed-performance-mode-enabled {str(value).lower()}")
        assert device.fixed_performance is value
    assert shell(adb, "settings get global stay_on_while_plugged_in") == "null\n"
    shell(adb, "settings put global stay_on_while_plugged_in 7")
    assert device.setting("global", "stay_on_while_plugged_in") == "7"
    assert shell(adb, "settings get global stay_on_while_plugged_in") == "7\n"
    assert shell(adb, "settings list global") == "stay_on_while_plugged_in=7\n"
    shell(adb, "settings delete global stay_on_while_plugged_in")
    assert device.setting("global", "stay_on_while_plugged_in") is None
    shell(adb, "input keyevent 223")
    assert "mWakefulness=Asleep" in shell(adb, "dumpsys power")
    shell(adb, "input keyevent 224")
    assert "mWakefulness=Awake" in shell(adb, "dumpsys power")


def test_a_command_can_be_made_to_refuse(adb: Any, device: VirtualAndroid) -> None:
    genuine = (device.folder / "system/bin/cmd").read_text()
    device.set_command("cmd", 'echo "Failed to set FIXED_PERFORMANCE mode" >&2; exit 255')
    refused = adb.shell2("cmd power set-fixed-performance-mode-enabled true", v2=True)
    assert (refused.returncode, refused.stderr) == (255, "Failed to set FIXED_PERFORMANCE mode\n")
    device.set_command("cmd", genuine)
    shell(adb, "cmd power set-fixed-performance-mode-enabled true")
    device.set_command("taskset", None)
    assert adb.shell2("taskset 1 true", v2=True).returncode == 127
    (device.folder / "system/bin/taskset").symlink_to("toybox")


def test_two_devices_are_two(fleet: tuple[AdbServer, list[VirtualAndroid]]) -> None:
    server, devices = fleet
    listed = {info.serial: info.state for info in server.client.list()}
    assert listed == {device.serial: "device" for device in devices}
    both = [server.client.device(device.serial) for device in devices]
    assert [one.prop.model for one in both] == ["Virtual Android 1", "Virtual Android 2"]
    shell(both[0], f"echo mine > {TMP}/mine")
    assert both[1].shell2(f"cat {TMP}/mine", v2=True).returncode == 1
    assert (devices[0].data / "local/tmp/mine").read_text() == "mine\n"


def test_nothing_listens_but_on_loopback(fleet: tuple[AdbServer, list[VirtualAndroid]]) -> None:
    server, devices = fleet
    everything = listening()
    ports = set()
    programs: list[AdbServer | VirtualAndroid] = [server, *devices]
    for child in programs:
        assert child.pid is not None
        for pid in sandbox_processes(child.pid):
            held = sockets(pid)
            assert set(held.values()) <= {"TCP", "TCPv6", "UNIX", "UNIX-STREAM", "NETLINK"}, "adbd's vsock is open"
            for inode in held:
                if inode in everything:
                    address, port = everything[inode]
                    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
                    assert (mapped or address).is_loopback, f"{address} port {port}"
                    ports.add(port)
    assert ports == {server.port, *(device.port for device in devices)}
    assert not ports & set(range(5555, 5586))


def test_the_adb_command_line_uses_this_server(server: AdbServer, device: VirtualAndroid) -> None:
    command = [str(server.adb), "-s", device.serial, "shell", "-T", "-x", "getprop ro.soc.model"]
    done = subprocess.run(
        command, env=os.environ | server.environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "emulated\n"
    listed = subprocess.run(
        [str(server.adb), "devices"],
        env=os.environ | server.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert device.serial in listed.stdout


def test_a_shell_with_a_terminal(server: AdbServer, device: VirtualAndroid) -> None:
    connection = server.client.device(device.serial).open_transport(timeout=30)
    connection.send_command("shell,v2,pty:stty size; tty")
    connection.check_okay()
    output, until = b"", time.monotonic() + 20
    while b"/dev/pts" not in output and time.monotonic() < until:
        header = connection.read_exact(5)
        output += connection.read_exact(int.from_bytes(header[1:], "little"))
    connection.close()
    assert b"/dev/pts/" in output


@pytest.mark.parametrize("arm64", [True, False])
def test_the_device_runs_what_it_reports(arm64: bool, tmp_path: Path, packages: Packages) -> None:
    device = VirtualAndroid(tmp_path / "device", packages=packages, arm64=arm64)
    assert bool(device.launcher) is arm64
    assert (device.folder / "system/bin/qemu-aarch64").is_symlink() is arm64
    assert ("arm64-v8a" in (device.folder / "framework/props").read_text()) is arm64
