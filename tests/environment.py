"""The environment that every test runs in: declared here, and the same whatever the machine and the shell are like.

Of the shell's variables only those in ``KEPT`` reach a test. Programs come from the folders of the tools that the
tests use and from the system's, without what a test must not find by chance (another adb, Xcode's tools). The home
folder is empty and has a space in its name, as a stranger's may. What takes minutes to make stays shared: the harness's
cache with zig's, uv's, and cargo's and rustup's folders.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.core.cache import cache_root

REPOSITORY = Path(__file__).parent.parent
GUARD = REPOSITORY / "tests/guard"
KEPT = frozenset(
    {
        "TMPDIR",
        "USER",
        "LOGNAME",
        # How this machine reaches package registries.
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO"),
        *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_OFFLINE"),
        # Set by pytest-xdist in its workers, which inherit the rest from the process that starts them.
        *("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"),
        *("PYTEST_VERSION", "PYTEST_CURRENT_TEST"),
    }
)
TOOLS = ("cargo", "rustc", "rustup", "git", "c++", "g++", "clang++", "nm", "apt-get", "chromium", "qemu-aarch64-static")
"""Programs that tests run, and whose folders are therefore searched."""
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
UNWANTED = ("adb", "xcrun", "xcodebuild", "codesign", "ndk-build", "sccache")
"""Programs that the harness looks for and that some machines have: a test that wants one makes it."""
WORKER = "PYTEST_XDIST_WORKER"


def declare() -> Path:
    """Give this process the declared environment; returns the folder to remove at its end.

    A worker of pytest-xdist gets a home of its own inside of the one of the process that started it.
    """
    machine = dict(os.environ)
    if worker := machine.get(WORKER):
        scratch = Path(machine["HOME"]) / worker
        scratch.mkdir()
    else:
        scratch = Path(tempfile.mkdtemp(prefix="harness tests "))
    declared = declared_environment(machine, scratch)
    os.environ.clear()
    os.environ.update(declared)
    os.umask(0o022)
    time.tzset()
    return scratch


def declared_environment(machine: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """The environment of a test on a machine with these variables; ``scratch`` is an empty folder."""
    user = Path(machine.get("HOME") or Path.home())
    home = scratch / "home"
    home.mkdir()
    folders = [Path(sys.executable).parent, user / ".cargo/bin"]
    searched = os.pathsep.join([machine.get("PATH", os.defpath), str(folders[1])])
    folders += [Path(found).parent for tool in TOOLS if (found := shutil.which(tool, path=searched))]
    path = search_path([*folders, *map(Path, SYSTEM_FOLDERS)], without=UNWANTED, scratch=scratch / "programs")
    declared = {name: value for name, value in machine.items() if name in KEPT} | {
        "PATH": path,
        "HOME": str(home),
        "LANG": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
        "TZ": "UTC",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
        "HARNESS_CACHE_DIR": str(cache_root().absolute()),
        # Where the harness has it: in an empty home zig would build a C library for arm64 again, 80 s of processor.
        "ZIG_GLOBAL_CACHE_DIR": str(cache_root().absolute() / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(cache_root().absolute() / "zig"),
        # Tests of installation take packages from it by hard links.
        "UV_CACHE_DIR": machine.get("UV_CACHE_DIR")
        or str(Path(machine.get("XDG_CACHE_HOME") or user / ".cache") / "uv"),
        "CARGO_HOME": machine.get("CARGO_HOME") or str(user / ".cargo"),
        "RUSTUP_HOME": machine.get("RUSTUP_HOME") or str(user / ".rustup"),
        "CARGO_TERM_COLOR": "never",
        # Neither the user's own settings nor the system's; tests that commit name an author themselves.
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        # An adb server of the user's, of whatever version, listens on the usual port; one of iTunes' or usbmuxd's at
        # the usual place.
        "ANDROID_ADB_SERVER_PORT": str(free_port()),
        "USBMUXD_SOCKET_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    # Where the harness is not installed but found by this, its own processes have to find it too.
    found_by_path = str(REPOSITORY) in machine.get("PYTHONPATH", "").split(os.pathsep)
    declared["PYTHONPATH"] = python_path(*[REPOSITORY] if found_by_path else [])
    return declared


def python_path(*folders: Path) -> str:
    """A ``PYTHONPATH`` for processes of tests: the guard that holds them to the test's marker, then ``folders``."""
    return os.pathsep.join(map(str, (GUARD, *folders)))


def search_path(folders: Iterable[Path], *, without: Iterable[str], scratch: Path) -> str:
    """A ``PATH`` of folders in which the programs ``without`` are not found.

    ``without`` are patterns as ``fnmatch`` has them. A folder that holds one of them is represented by a folder of
    links to everything else in it.
    """
    patterns = tuple(without)
    kept: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        names = {path.name for path in folder.iterdir()}
        hidden = {name for pattern in patterns for name in fnmatch.filter(names, pattern)}
        if hidden:
            mirror = scratch / folder.relative_to(folder.anchor)
            if not mirror.exists():
                mirror.mkdir(parents=True)
                for name in names - hidden:
                    (mirror / name).symlink_to(folder / name)
            folder = mirror
        kept[folder] = None
    return os.pathsep.join(map(str, kept))


def system_path(scratch: Path, *without: str) -> str:
    """The system's folders, in which neither Rust nor a linker for Apple's systems nor ``without`` is found."""
    return search_path(
        [Path(folder) for folder in SYSTEM_FOLDERS],
        without=(*UNWANTED, "cargo*", "rustc*", "rustup*", "ld64.lld*", *without),
        scratch=scratch,
    )


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end(scratch: Path) -> None:
    """End the adb server that a test may have made the harness start, and remove the scratch folder."""
    port = int(os.environ["ANDROID_ADB_SERVER_PORT"])
    with socket.socket() as probe:
        probe.settimeout(1.0)
        runs = probe.connect_ex(("127.0.0.1", port)) == 0
    if runs:
        from adbutils._utils import adb_path

        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run([adb_path(), "-P", str(port), "kill-server"], capture_output=True, timeout=10, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
