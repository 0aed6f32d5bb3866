"""Run several virtual devices of one adb server, for as long as a block runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.core.cache import Cache
from harness.core.progress import Progress
from harness.virtual.android.device import VirtualAndroid
from harness.virtual.android.packages import provide_packages
from harness.virtual.android.server import AdbServer
from harness.virtual.workspace import workspace


@contextlib.contextmanager
def virtual_androids(
    count: int, *, cache: Cache, progress: Progress, arm64: bool = True, data_bytes: int | None = None
) -> Iterator[tuple[AdbServer, list[VirtualAndroid]]]:
    """Yield an adb server and ``count`` devices that are connected to it; all are removed afterwards, with their files.

    The devices have different models (``Virtual Android 1`` …). Raises VirtualDeviceUnavailable.
    """
    packages = provide_packages(cache, progress)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workspace())
        server = stack.enter_context(AdbServer(folder / "server", packages=packages))
        devices = []
        for number in range(1, count + 1):
            device = VirtualAndroid(folder / f"device-{number}", packages=packages, arm64=arm64, data_bytes=data_bytes)
            device.set_property("ro.product.model", f"Virtual Android {number}")
            stack.enter_context(device)
            server.connect(device.serial)
            devices.append(device)
        yield server, devices
