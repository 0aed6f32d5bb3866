"""Replace tunneld: report over HTTP where each phone's tunnel leads, which is loopback here."""

from __future__ import annotations

import json

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.rsd import Discovery
from harness.virtual.ios.stream import Connection, Listener

MAXIMUM_REQUEST_BYTES = 1 << 16


class Tunnels:
    """Hold the tunnels of all phones that have one, and the daemon that reports them."""

    def __init__(self, phones: list[Phone]) -> None:
        self._tunnels = {phone: Discovery(phone) for phone in phones if phone.identity.tunnelled}
        self._listener = Listener(self._serve)

    async def start(self) -> int | None:
        """Listen, and return the daemon's port; None if no phone has a tunnel."""
        if not self._tunnels:
            return None
        for discovery in self._tunnels.values():
            await discovery.start()
        return await self._listener.start()

    def stop(self) -> None:
        self._listener.stop()
        for discovery in self._tunnels.values():
            discovery.stop()

    async def _serve(self, connection: Connection) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = await connection.read_some()
            if not chunk or len(head) > MAXIMUM_REQUEST_BYTES:
                return
            head += chunk
        await connection.send(await self._answer(connection, head.split(b" ")[1:2] == [b"/"]))

    async def _answer(self, connection: Connection, known: bool) -> bytes:
        tunnels = {}
        for phone, discovery in self._tunnels.items():
            if not phone.tunnel:
                continue
            try:
                await phone.faults.at("tunneld", connection)
            except Refused:
                continue
            where = {"tunnel-address": "127.0.0.1", "tunnel-port": discovery.port}
            tunnels[phone.identity.udid] = [{**where, "interface": f"usbmux-{phone.identity.udid}-USB"}]
        body = json.dumps(tunnels).encode()
        status = "200 OK" if known else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + body
