"""What the kernel reports of a sandbox's processes and sockets."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

WAIT_SECONDS = 20.0
LISTENING = "0A"


def wait_until(happened: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < until, f"{what} did not happen"
        time.sleep(0.01)


def sandbox_processes(pid: int) -> list[int]:
    """All processes in the process namespace of ``pid``."""
    namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "ns/pid").stat().st_ino == namespace:
                found.append(int(folder.name))
    return found


def exists(pid: int) -> bool:
    """Return whether a process runs. One that has ended is listed until its parent asks, which in some containers
    nobody does."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def sockets(pid: int) -> dict[int, str]:
    """The inode and protocol of every socket that a process holds."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if path.readlink().name.startswith("socket:"):
                found[path.stat().st_ino] = os.getxattr(path, "system.sockprotoname").rstrip(b"\0").decode()
    return found


def listening() -> dict[int, tuple[IPv4Address | IPv6Address, int]]:
    """Address and port of every TCP socket that listens in this network namespace, by inode."""
    found: dict[int, tuple[IPv4Address | IPv6Address, int]] = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            host, port = fields[1].split(":")
            # The kernel prints each 32-bit word of an address in the machine's order.
            raw = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
            address = IPv4Address(raw) if name == "tcp" else IPv6Address(raw)
            if fields[3] == LISTENING:
                found[int(fields[9])] = (address, int(port, 16))
    return found
