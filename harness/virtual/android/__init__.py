"""Provide the virtual Android device: the real adb server, a real adbd on loopback, arm64 programs under qemu.

Stable for the Android backend and for tests (docs/virtual-android.md lists what is real and what is a stub)::

    with virtual_androids(2, cache=Cache(), progress=print) as (server, devices):
        server.port, server.environment, server.client    # for adb and adbutils
        server.kill(), server.start(), server.connect(serial)
        device = devices[0]
        device.serial                       # "127.0.0.1:PORT"
        device.launcher                     # what an arm64 program is started through; () for an x86-64 device
        device.folder                       # the host's view of system/ data/ framework/ sys/ proc/ etc/
        device.data                         # the host's view of /data, also where its size is limited
        device.kill(), device.restart()     # the cable is pulled; it is there again, with its files
        device.set_property(name, value), device.set_battery(level=…, temperature_tenths=…)
        device.set_thermal_status(n), device.set_dumpsys(service, text), device.set_command(name, script)
        device.fixed_performance, device.setting("global", key)     # what was changed through adb

``VirtualAndroid(folder, packages=provide_packages(cache, progress), data_bytes=…, cores=…)`` and ``AdbServer(folder,
packages=…)`` are context managers of their own. Times measured on such a device are an emulator's: label them
``emulated`` and compare them with nothing.
"""

from harness.virtual.android.device import VirtualAndroid
from harness.virtual.android.errors import VirtualDeviceUnavailable
from harness.virtual.android.fleet import virtual_androids
from harness.virtual.android.packages import Packages, provide_packages
from harness.virtual.android.rootfs import Core
from harness.virtual.android.server import AdbServer

__all__ = [
    "AdbServer",
    "Core",
    "Packages",
    "VirtualAndroid",
    "VirtualDeviceUnavailable",
    "provide_packages",
    "virtual_androids",
]
