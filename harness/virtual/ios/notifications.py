"""Serve notification_proxy: clients observe names, and get the notifications that they post themselves."""

from __future__ import annotations

from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one connection's commands until it ends."""
    observed: set[object] = set()
    while True:
        request = await connection.read_plist()
        name = request.get("Name")
        match request.get("Command"):
            case "ObserveNotification":
                observed.add(name)
            case "PostNotification":
                phone.event(f"notification {name}")
                if name in observed:
                    await connection.send_plist({"Command": "RelayNotification", "Name": name})
            case "Shutdown":
                await connection.send_plist({"Command": "ProxyDeath"})
                return
