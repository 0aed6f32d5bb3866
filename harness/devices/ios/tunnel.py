"""Open the tunnel through which iOS 17 and newer start apps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection, HTTPException
from typing import Any

from pymobiledevice3.exceptions import PyMobileDevice3Exception, TunneldConnectionError
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService

from harness.devices.ios.errors import TunnelMissing
from harness.devices.ios.explained import words_of
from harness.devices.ios.options import TUNNELD, TunnelName, Way

Close = Callable[[], Awaitable[None]]
ASK_SECONDS = 5.0
CONNECT_SECONDS = 10.0
_FAILED = (PyMobileDevice3Exception, OSError, EOFError, ImportError, asyncio.TimeoutError)
"""The errors of a failed tunnel: a missing service, a second tunnel of one process and a lost connection all differ."""

_log = logging.getLogger(__name__)


async def open_tunnel(udid: str, way: Way, phone: str) -> tuple[RemoteServiceDiscoveryService, Close]:
    """Return a connected RSD and a function that closes it. Raises TunnelMissing with the reason for each way.

    The first way is a tunnel in this process, which needs no rights (iOS 17.4 and newer, one phone a process). The
    second is a running tunneld.
    """
    reasons = []
    for name in way.tunnels:
        found = await _tried(name, udid, way)
        if not isinstance(found, str):
            return found
        reasons.append(found)
    raise TunnelMissing(
        f"there is no tunnel to {phone}: {'; '.join(reasons)}",
    )


async def _tried(name: TunnelName, udid: str, way: Way) -> tuple[RemoteServiceDiscoveryService, Close] | str:
    """Return a tunnel, or why there is none."""
    try:
        return await (_userspace(udid) if name == "userspace" else _tunneld(udid, way))
    except TunneldConnectionError:
        return f"no tunneld runs at {way.tunneld[0]}:{way.tunneld[1]}"
    except _FAILED as error:
        _log.debug("tunnel %s", name, exc_info=True)
        return f"{name}: {words_of(error)}"


async def _userspace(udid: str) -> tuple[RemoteServiceDiscoveryService, Close]:
    # Imported here, because it brings a network stack of its own.
    from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel

    tunnel = UserspaceRsdTunnel(serial=udid, autopair=False, remotepairing_fallback=False)
    return await tunnel.aopen(), tunnel.aclose


async def _tunneld(udid: str, way: Way) -> tuple[RemoteServiceDiscoveryService, Close]:
    tunnels = await asyncio.to_thread(_listed, way.tunneld)
    failed: BaseException = PyMobileDevice3Exception(
        f"the tunneld at {way.tunneld[0]}:{way.tunneld[1]} has no tunnel to it"
    )
    # There may be one by cable, one over Wi-Fi, and for a while one that has died.
    for tunnel in tunnels.get(udid) or ():
        rsd = RemoteServiceDiscoveryService((tunnel["tunnel-address"], tunnel["tunnel-port"]))
        try:
            await asyncio.wait_for(rsd.connect(), CONNECT_SECONDS)
        except _FAILED as error:
            failed = error
        else:
            return rsd, rsd.close
    raise failed


def _listed(address: tuple[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Return the tunnels that a tunneld lists, by UDID; raises TunneldConnectionError.

    The library's own question goes through the proxy that the environment names, which cannot reach this computer.
    """
    connection = HTTPConnection(*address, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/")
        tunnels = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError) as error:
        raise TunneldConnectionError from error
    finally:
        connection.close()
    if not isinstance(tunnels, dict):
        raise TunneldConnectionError
    return tunnels


def tunneld_runs() -> bool:
    """Return whether a tunneld answers at its usual address."""
    with contextlib.suppress(TunneldConnectionError):
        _listed(TUNNELD)
        return True
    return False
