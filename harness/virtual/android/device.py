"""Run one virtual Android device: Debian's real adbd in a root of its own, on one loopback port."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from harness.virtual.android.errors import VirtualDeviceUnavailable
from harness.virtual.android.package_manager import PackageManager
from harness.virtual.android.packages import MULTIARCH, Packages
from harness.virtual.android.rootfs import APP_FOLDERS, MOUNT, UID, Core, default_cores, lay_out
from harness.virtual.child import Child, Sandboxed

START_DEADLINE_SECONDS = 20.0
PORTS = range(15_000, 30_000)
"""The ports of devices. They are below the range from which the kernel takes ports for connections, because a dead
device's port could otherwise connect to itself. They are above the range in which an adb server looks for emulators."""
FOREVER = "3650d"
LAUNCHER = "/system/bin/qemu-aarch64"


class VirtualAndroid(Sandboxed):
    """Run a device with its files in ``folder``, which is made if it is missing and kept when the device stops.

    ``port`` is chosen if None. With ``arm64`` it is a phone that runs arm64 programs (under qemu) through ``launcher``;
    otherwise it is an x86-64 device that runs them directly. ``data_bytes`` limits the size of ``/data``, which is then
    memory: it outlives ``kill`` and ``restart``, and ends with ``stop``. ``cores`` is the topology that its sysfs
    shows.
    """

    def __init__(
        self,
        folder: Path,
        *,
        packages: Packages,
        port: int | None = None,
        arm64: bool = True,
        data_bytes: int | None = None,
        cores: Sequence[Core] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self.launcher: tuple[str, ...] = (LAUNCHER,) if arm64 else ()
        self._packages = packages
        self._data_bytes = data_bytes
        self._memory: Child | None = None
        # A test may pull the cable from one thread while another starts or stops the device.
        self._lock = threading.RLock()
        self.packages = PackageManager(self.folder / "framework", lambda: self.data)
        """The apps that are installed on it."""
        if not (self.folder / "system").exists():
            lay_out(self.folder, packages, default_cores() if cores is None else cores, arm64)

    @property
    def serial(self) -> str:
        """Return the adb server's name for the device once it is connected."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Return the log of adbd."""
        return self.folder / "adbd.log"

    @property
    def data(self) -> Path:
        """Return the host's view of ``/data``; if its size is limited, only while the device is started."""
        if self._memory is None:
            return self.folder / "data"
        return Path(f"/proc/{self._memory.pid}/root{self.folder}/data")

    def start(self) -> VirtualAndroid:
        """Boot; return when adbd listens. Raises VirtualDeviceUnavailable."""
        with self._lock:
            if not self.alive:
                self._boot()
                self.packages.start()
        return self

    def stop(self) -> None:
        """End adbd and everything it runs; the files stay."""
        with self._lock:
            self.kill()
            self.packages.stop()
            if self._memory is not None:
                self._memory.kill()
                self._memory = None

    def kill(self) -> None:
        """Pull the cable and the battery: adbd and everything on the device end at once, without a message."""
        with self._lock:
            self._end_child()

    def restart(self) -> VirtualAndroid:
        """Come up again with the same serial and files; the adb server has to connect again."""
        with self._lock:
            self.kill()
            return self.start()

    def set_property(self, name: str, value: str) -> None:
        """Set a property for ``getprop``. ``ro.product.*`` reach the adb server when it connects."""
        path = self.folder / "framework/props"
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(f"{name}=")]
        replace_file(path, "\n".join([*lines, f"{name}={value}", ""]))

    def set_dumpsys(self, service: str, text: str | None) -> None:
        """Set the output of ``dumpsys SERVICE``; None removes the service."""
        path = self.folder / "framework/dumpsys" / service
        if text is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, text)

    def set_battery(
        self,
        *,
        level: int | None = None,
        temperature_tenths: int | None = None,
        powered: bool | None = None,
        status: int | None = None,
    ) -> None:
        """Change values of ``dumpsys battery``: percent, tenths of a degree Celsius, USB power, Android's status."""
        values = {
            "level": level,
            "temperature": temperature_tenths,
            "USB powered": None if powered is None else str(powered).lower(),
            "status": status,
        }
        text = self._dumpsys("battery")
        for name, value in values.items():
            if value is not None:
                text = re.sub(rf"^  {name}: .*$", f"  {name}: {value}", text, flags=re.MULTILINE)
        self.set_dumpsys("battery", text)

    def set_thermal_status(self, status: int) -> None:
        """Set Android's thermal status, 0 (none) to 6 (shutdown)."""
        text = self._dumpsys("thermalservice")
        text = re.sub(r"^Thermal Status: .*$", f"Thermal Status: {status}", text, flags=re.MULTILINE)
        self.set_dumpsys("thermalservice", text)

    def set_command(self, name: str, script: str | None) -> None:
        """Make ``name`` a program of the device: a shell script's text without its first line. None removes it."""
        path = self.folder / "system/bin" / name
        if script is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, f"#!/system/bin/sh\n{script}\n", mode=0o755)

    @property
    def fixed_performance(self) -> bool | None:
        """Return the last value of ``cmd power set-fixed-performance-mode-enabled``; None if it was never set."""
        path = self.folder / "framework/fixed_performance"
        return path.read_text(encoding="utf-8").strip() == "true" if path.exists() else None

    def setting(self, namespace: str, key: str) -> str | None:
        """Return the value of ``settings get``, None for its ``null``."""
        path = self.folder / "framework/settings" / namespace / key
        return path.read_text(encoding="utf-8").rstrip("\n") if path.exists() else None

    def _boot(self) -> None:
        # adbd would continue without its port, and another program's answer would be taken for its own.
        if listens(self.port):
            raise VirtualDeviceUnavailable(
                f"port {self.port} is taken", cure="end what listens there, or choose another port"
            )
        try:
            self._child = Child([*self._limit_data(), *self._sandbox()], [f"{MOUNT}/bin/adbd"], self.log)
        except OSError as error:
            raise VirtualDeviceUnavailable(f"cannot start a virtual Android device: {error}") from error
        until = time.monotonic() + START_DEADLINE_SECONDS
        while not listens(self.port):
            if not self._child.alive or time.monotonic() > until:
                self.stop()
                raise VirtualDeviceUnavailable(f"adbd did not come up on port {self.port}:\n{self._output()}")
            time.sleep(0.01)

    def _output(self) -> str:
        return self.log.read_text(errors="replace", encoding="utf-8").strip()[-2000:]

    def _dumpsys(self, service: str) -> str:
        return (self.folder / "framework/dumpsys" / service).read_text(encoding="utf-8")

    def _sandbox(self) -> list[str]:
        packages = self._packages.folder
        arguments = [*self._packages.sandbox, "--unshare-user", "--uid", str(UID), "--gid", str(UID)]
        arguments += ["--unshare-ipc", "--unshare-uts", "--hostname", "localhost", "--new-session", "--clearenv"]
        arguments += [
            "--ro-bind",
            str(packages / "lib"),
            f"/lib/{MULTIARCH}",
            "--symlink",
            f"lib/{MULTIARCH}",
            "/lib64",
        ]
        arguments += ["--ro-bind", str(packages), MOUNT, "--symlink", "system/bin", "/bin"]
        for name in ("system", "etc"):
            arguments += ["--ro-bind", str(self.folder / name), f"/{name}"]
        # These are writable mounts of files that are not writable, so that refusals are the same as on a phone.
        for name in ("sys", "framework"):
            arguments += ["--bind", str(self.folder / name), f"/{name}"]
        arguments += ["--dev", "/dev", "--proc", "/proc"]
        arguments += ["--ro-bind", str(self.folder / "proc/cpuinfo"), "/proc/cpuinfo"]
        # df names a disk by its last mount.
        arguments += ["--bind", str(self.folder / "data"), "/data"]
        arguments += ["--dir", "/tmp", "--symlink", "/data/media/0", "/sdcard", "--remount-ro", "/", "--chdir", "/"]
        environment = {
            "PATH": "/system/bin",
            "HOME": "/",
            "ANDROID_ROOT": "/system",
            "ANDROID_DATA": "/data",
            "ADBD_PORT": str(self.port),
            "LD_PRELOAD": f"{MOUNT}/lib/adbd_shim.so",
        }
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        return arguments

    def _limit_data(self) -> list[str]:
        """Return the command that starts the device so that its folder contains a ``data/`` of limited size.

        A file system belongs to the namespace in which it was mounted. So one more process holds it while adbd is down.
        """
        if self._data_bytes is None:
            return []
        if self._memory is None:
            data = str(self.folder / "data")
            # The user is root only inside, because bubblewrap takes any other user with privileges for a mistake.
            arguments = [*self._packages.sandbox, "--unshare-user", "--uid", "0", "--gid", "0", "--dev-bind", "/", "/"]
            arguments += ["--size", str(self._data_bytes), "--tmpfs", data, "--dir", f"{data}/local/tmp"]
            for name in APP_FOLDERS:
                arguments += ["--dir", str(self.folder / name)]
            arguments += ["--chmod", "0551", data]
            self._memory = Child(arguments, [*self._packages.program("toybox"), "sleep", FOREVER], self.log)
            self._wait_for_memory(self._memory)
        return [
            *self._packages.program("nsenter"),
            "-t",
            str(self._memory.pid),
            "-U",
            "-m",
            "--preserve-credentials",
            "--",
        ]

    def _wait_for_memory(self, memory: Child) -> None:
        # The mount is seen from its own root. The namespace cannot be entered before it is in place.
        mount = f"{self.folder}/data".replace(" ", r"\040")
        until = time.monotonic() + START_DEADLINE_SECONDS
        while memory.alive and time.monotonic() < until:
            with contextlib.suppress(OSError):
                if f" {mount} " in Path(f"/proc/{memory.pid}/mountinfo").read_text(encoding="utf-8"):
                    return
            time.sleep(0.01)
        self.stop()
        raise VirtualDeviceUnavailable(f"cannot limit the device's data to {self._data_bytes} bytes:\n{self._output()}")


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Change a file that the device may be reading; the device sees either the old or the new contents."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.rename(path)


def free_port() -> int:
    """Return a loopback port on which nothing listens and which the kernel gives to nobody else."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise VirtualDeviceUnavailable(f"no free port between {PORTS.start} and {PORTS.stop}")


def listens(port: int) -> bool:
    """Return whether something accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
