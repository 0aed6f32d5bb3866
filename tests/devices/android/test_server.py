"""The adb server: started when it is missing, and never waited for without end."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.devices.android import AdbMismatch, AdbUnavailable, Server, adb_checks, attached_devices
from harness.devices.android.makers import setting_to_turn_on
from harness.devices.android.shell import Shell
from harness.devices.errors import CommandTimeout, DeviceLost
from harness.virtual.android.device import free_port
from tests.devices.android.conftest import Scene


def test_a_missing_server_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOME": str(tmp_path), "ADB_MDNS": "0", "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553"}.items():
        monkeypatch.setenv(name, value)
    server = Server(free_port())
    assert not server.answers()
    try:
        server.ensure()
        assert server.ask_version() == 41
        assert isinstance(attached_devices(server), list)
    finally:
        server.server_kill()
    until = time.monotonic() + 5
    while server.answers() and time.monotonic() < until:
        time.sleep(0.05)
    assert not server.answers()


def test_looking_starts_no_server() -> None:
    server = Server(free_port(), starts=False)
    with pytest.raises(AdbUnavailable):
        attached_devices(server)
    checks = {check.name: check for check in adb_checks(server)}
    assert checks["adb"].ok, checks["adb"]
    assert "none runs" in checks["adb server"].found
    assert not server.answers()


def test_the_doctor_names_the_switch_that_a_maker_wants(scene: Scene) -> None:
    virtual, name = scene.virtual, f"settings of {scene.virtual.serial}"
    checks = {check.name: check for check in adb_checks(scene.server)}
    assert checks[f"Android {virtual.serial}"].ok
    assert checks[name].ok, checks[name]
    assert virtual.setting("global", "harness_doctor") is None

    virtual.set_command("settings", "echo 'Error: java.lang.IllegalStateException' >&2; exit 255")
    assert "not changed: " in next(check for check in adb_checks(scene.server) if check.name == name).found

    words = "java.lang.SecurityException: Permission denial: writing to settings requires WRITE_SECURE_SETTINGS"
    virtual.set_property("ro.product.manufacturer", "Xiaomi")
    virtual.set_command("settings", f"echo '{words}' >&2; exit 255")
    (check,) = [check for check in adb_checks(scene.server) if check.name == name]
    assert not check.ok
    assert "WRITE_SECURE_SETTINGS" in check.found
    assert 'turn on "USB debugging (Security settings)"' in check.cure


def test_a_silent_server_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            accepted.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        server = Server(listener.getsockname()[1], starts=False)
        began = time.monotonic()
        with pytest.raises(CommandTimeout, match=r"listing: no answer within 0\.3 s"), server.deadline(0.3, "listing"):
            server.list()
        assert time.monotonic() - began < 5
        thread.join()
        accepted[0].close()
        listener.close()
    with pytest.raises((AdbUnavailable, AdbMismatch)):
        server.ensure()


@pytest.fixture
def under_nohup() -> Iterator[None]:
    """As `nohup` starts programs."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("under_nohup")
def test_a_silent_command_is_not_waited_for_under_nohup(scene: Scene) -> None:
    with pytest.raises(CommandTimeout, match="sleeping on"):
        Shell(scene.server, scene.virtual.serial).run("exec sleep 600", deadline=2.0, what="sleeping")
    scene.assert_clean()


def test_a_silent_command_is_not_waited_for(scene: Scene) -> None:
    shell = Shell(scene.server, scene.virtual.serial)
    began = time.monotonic()
    with pytest.raises(CommandTimeout, match="sleeping on"):
        # Long enough to begin on a busy machine: adbd ends what runs, not what it is about to start.
        shell.run("exec sleep 600", deadline=2.0, what="sleeping")
    assert time.monotonic() - began < 60
    scene.assert_clean()


def test_a_push_that_stalls_is_not_waited_for(scene: Scene) -> None:
    server = scene.server
    device = server.device(scene.virtual.serial)

    class Stalling:
        def read(self, _size: int) -> bytes:
            time.sleep(0.05)
            return b"x" * 65536

    with pytest.raises(CommandTimeout, match="pushing"), server.deadline(0.5, "pushing"):
        device.sync.push(Stalling(), "/data/local/tmp/endless")


def test_arguments_reach_the_device_as_they_are(scene: Scene) -> None:
    odd = ["two words", "it's", '"$HOME"', "`id`", "a\nb", "", "-n", "ü*"]
    shell = Shell(scene.server, scene.virtual.serial)
    answer = shell.run(r"printf '%s\0' " + '"$@"', *odd, deadline=10, what="printing")
    assert answer.out.split("\0")[:-1] == odd


def test_a_failing_command_is_an_answer(scene: Scene) -> None:
    shell = Shell(scene.server, scene.virtual.serial)
    answer = shell.run("echo out; echo err >&2; exit 7", deadline=10, what="failing")
    assert (answer.status, answer.out, answer.err, answer.words) == (7, "out\n", "err\n", "err")
    with pytest.raises(DeviceLost, match="not found"):
        Shell(scene.server, "127.0.0.1:9").run("true", deadline=5, what="asking")


def test_makers_are_known_in_any_case() -> None:
    assert setting_to_turn_on("SAMSUNG") == setting_to_turn_on("samsung")
