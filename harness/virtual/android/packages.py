"""Provide the programs of a virtual device: Debian's, in the cache, with every library they need.

Nothing is installed, and no part of the machine's own userland gets into the device. The C library comes along.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.core.cache import Cache, content_key, hash_file
from harness.core.commands import run_command
from harness.core.debian import OS_RELEASE, DebianPackages, PackagesUnavailable, read_codename, unpack
from harness.core.progress import Progress
from harness.native.android.library import SOURCES as ACTIVITY_SOURCES
from harness.native.compilers import zig_environment
from harness.virtual.android.errors import VirtualDeviceUnavailable

PACKAGES = ("adbd", "bubblewrap", "busybox", "mksh", "qemu-user-static", "toybox", "util-linux")
SUITES = ("backports",)
"""The suites of the packages; adbd came to Debian after its release."""
PROGRAMS = {
    "adbd": "usr/lib/android-sdk/platform-tools/adbd",
    "busybox": "bin/busybox",
    "bwrap": "usr/bin/bwrap",
    "mksh": "bin/mksh",
    "nsenter": "usr/bin/nsenter",
    "qemu-aarch64": "usr/bin/qemu-aarch64-static",
    "toybox": "bin/toybox",
}
MULTIARCH = "x86_64-linux-gnu"
LIBRARIES = (f"lib/{MULTIARCH}", f"usr/lib/{MULTIARCH}", f"usr/lib/{MULTIARCH}/android")
LOADER = "ld-linux-x86-64.so.2"
SHIM = Path(__file__).with_name("adbd_shim.c")
ACTIVITY_HOST = Path(__file__).with_name("activity_host.c")
"""The source of the program that runs an app's activity; it is for arm64, as the app is, and runs under qemu."""
ACTIVITY_HOST_FLAGS = ("-std=gnu11", "-static", f"-I{ACTIVITY_SOURCES}")
SHIM_TARGET = f"{MULTIARCH.replace('linux-gnu', 'linux-gnu.2.31')}"
COMPILE_DEADLINE_SECONDS = 1800.0
"""Zig builds its C library first, once for each target: a CPU minute, and many times that on a busy machine."""
PROBE_DEADLINE_SECONDS = 20.0
LAYOUT = 2


@dataclass(frozen=True)
class Packages:
    """Hold a folder with ``bin/`` (PROGRAMS, ACTIVITY_HOST) and ``lib/`` (all libraries, the loader and the shim)."""

    folder: Path

    def program(self, name: str) -> tuple[str, ...]:
        """Return the command of one of our programs on this machine.

        It uses its own libraries, whatever the machine has.
        """
        library = self.folder / "lib"
        return (str(library / LOADER), "--library-path", str(library), str(self.folder / "bin" / name))

    @property
    def sandbox(self) -> tuple[str, ...]:
        """Return bubblewrap's command line; its options follow it."""
        return self.program("bwrap")


def provide_packages(cache: Cache, progress: Progress) -> Packages:
    """Return the packages from the cache, or fetch them now (about 80 MB) from the machine's Debian mirror.

    Raises VirtualDeviceUnavailable if there can be no virtual device: on another system or processor than Linux on
    x86-64, without Debian packages, or if the kernel allows this user no namespaces.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise VirtualDeviceUnavailable(
            f"the virtual Android device needs Linux on x86-64; this is {platform.system()} on {platform.machine()}",
            cure="use a phone (--device android), or run this on such a machine",
        )

    def build(folder: Path) -> None:
        _collect(DebianPackages(cache.root / "debian", progress=progress), folder)
        _compile(cache, SHIM_TARGET, SHIM, folder / "lib/adbd_shim.so", "-shared", "-fPIC")
        _compile(cache, "aarch64-linux-musl", ACTIVITY_HOST, folder / "bin/activity_host", *ACTIVITY_HOST_FLAGS)

    try:
        fields = {
            "layout": LAYOUT,
            "release": read_codename(OS_RELEASE),
            "packages": PACKAGES,
            "suites": SUITES,
            "sources": [hash_file(path) for path in (SHIM, ACTIVITY_HOST, ACTIVITY_SOURCES / "ndk.h")],
            "zig": importlib.metadata.version("ziglang"),
        }
        packages = Packages(cache.fetch("virtual-android", content_key(fields), build))
    except PackagesUnavailable as error:
        raise VirtualDeviceUnavailable(
            f"the virtual Android device cannot be provided: {Exception.__str__(error)}", cure=error.cure
        ) from error
    check_sandbox(packages)
    return packages


def check_sandbox(packages: Packages) -> None:
    """Raise VirtualDeviceUnavailable, with bubblewrap's reason, if this user may not have namespaces."""
    library = packages.folder / "lib"
    command = [*packages.sandbox, "--unshare-user", "--unshare-pid", "--die-with-parent"]
    command += ["--ro-bind", str(packages.folder), "/packages", "--ro-bind", str(library), f"/lib/{MULTIARCH}"]
    command += ["--symlink", f"lib/{MULTIARCH}", "/lib64", "--proc", "/proc", "--dev", "/dev", "--size", "4096"]
    command += ["--tmpfs", "/data", "/packages/bin/toybox", "true"]
    try:
        done = run_command(command, deadline=PROBE_DEADLINE_SECONDS)
        reason = done.stderr.strip() if done.returncode != 0 else None
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    if reason is not None:
        raise VirtualDeviceUnavailable(
            f"bubblewrap cannot make the namespaces of a virtual device: {reason}",
            cure="allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0); in a container it takes an unconfined seccomp profile "
            "and an unmasked /proc, too (docker run --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined)",
        )


def _collect(packages: DebianPackages, folder: Path) -> None:
    debs = packages.fetch(PACKAGES, suites=SUITES, with_dependencies=True)
    root = folder / "unpacked"
    unpack(debs, root)
    (folder / "bin").mkdir()
    for name, place in PROGRAMS.items():
        # Later releases have everything below usr/.
        found = next((path for path in (root / place, root / "usr" / place) if path.exists()), None)
        if found is None:
            raise VirtualDeviceUnavailable(f"Debian's packages do not hold {place}")
        shutil.copy2(found, folder / "bin" / name)
    library = folder / "lib"
    library.mkdir()
    for place in LIBRARIES:
        for path in (root / place).glob("*.so*"):
            target = library / path.name
            if path.is_symlink():
                target.unlink(missing_ok=True)
                target.symlink_to(path.readlink().name)
            elif path.is_file():
                shutil.copy2(path, target)
    shutil.rmtree(root)


def _compile(cache: Cache, triple: str, source: Path, target: Path, *flags: str) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, "-O2", "-Wall", "-Werror"]
    command += [*flags, str(source), "-o", str(target)]
    environment = os.environ | zig_environment(cache)
    try:
        done = run_command(command, deadline=COMPILE_DEADLINE_SECONDS, env=environment)
    except subprocess.TimeoutExpired as error:
        raise VirtualDeviceUnavailable(f"cannot compile {source.name}: no end within {error.timeout:.0f} s") from error
    if done.returncode != 0:
        raise VirtualDeviceUnavailable(f"cannot compile {source.name}:\n{done.stderr.strip()[-2000:]}")
