"""Serve CoreDeviceProxy: a tunnel through the cable, which needs no rights (iOS 17.4 and newer).

A greeting in JSON comes first, then IPv6 packets one after the other. The phone's end is the network stack that
pymobiledevice3 brings for the host. Every port of the tunnel leads to the loopback port with the same number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Any

from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection, Dropped

NAME = "com.apple.internal.devicecompute.CoreDeviceProxy"
MAGIC = b"CDTunnel"
HOST, DEVICE = "fd00:6861:726e::2", "fd00:6861:726e::1"
MTU = 16000
_IPV6_HEADER_BYTES = 40
_CHUNK = 1 << 16


async def serve(phone: Phone, connection: Connection) -> None:
    """Serve the phone's end of a tunnel until the cable or the tunnel ends; a process's stack has room for only one."""
    from pmd_pytcp import stack
    from pymobiledevice3.remote.userspace_tunnel import UserspaceTun

    if not phone.tunnel or phone.discovery_port is None or getattr(stack, "_pmd3_inited", False):
        raise Dropped
    with phone.attend(connection, "tunnel"):
        await _greet(connection, phone.discovery_port)
        tun = UserspaceTun()
        tun.mtu, tun.addr = MTU, DEVICE
        tasks: list[asyncio.Task[None]] = []
        try:
            await tun.up()
            tun.set_peer(HOST)
            tasks = [asyncio.create_task(_listen(port)) for port in (phone.discovery_port, *phone.service_ports)]
            tasks.append(asyncio.create_task(_outward(tun, connection)))
            while True:
                header = await connection.read(_IPV6_HEADER_BYTES)
                (length,) = struct.unpack_from(">H", header, 4)
                tun.write(header + await connection.read(length))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await tun.close()


async def _greet(connection: Connection, discovery_port: int) -> None:
    head = await connection.read(len(MAGIC) + 2)
    (size,) = struct.unpack_from(">H", head, len(MAGIC))
    try:
        greeting = json.loads(await connection.read(size))
    except ValueError as error:
        raise Dropped from error
    if not head.startswith(MAGIC) or greeting.get("type") != "clientHandshakeRequest":
        raise Dropped
    answer = {
        "type": "serverHandshakeResponse",
        "clientParameters": {"address": HOST, "mtu": MTU, "netmask": "ffff:ffff:ffff:ffff::"},
        "serverAddress": DEVICE,
        "serverRSDPort": discovery_port,
    }
    body = json.dumps(answer).encode()
    await connection.send(MAGIC + struct.pack(">H", len(body)) + body)


async def _outward(tun: Any, connection: Connection) -> None:
    with contextlib.suppress(Dropped):
        while packet := await tun.async_read():
            await connection.send(packet)


async def _listen(port: int) -> None:
    """Accept the connections to one port of the tunnel."""
    from pmd_pytcp.socket import AF_INET6, SOCK_STREAM, socket

    listener: Any = socket(AF_INET6, SOCK_STREAM)
    listener.bind((DEVICE, port))
    listener.listen()
    relays: set[asyncio.Task[None]] = set()
    try:
        while True:
            accepted, _ = await listener.accept()
            relay = asyncio.create_task(_relay(accepted, port))
            relays.add(relay)
            relay.add_done_callback(relays.discard)
    finally:
        listener.close()
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def _relay(inside: Any, port: int) -> None:
    """Relay both directions between a connection of the tunnel and one on loopback."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        inside.close()
        return

    async def inward() -> None:
        with contextlib.suppress(OSError):
            while data := await inside.recv(_CHUNK):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def outward() -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await inside.send(data)
        inside.close()

    try:
        await asyncio.gather(inward(), outward())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            inside.close()
