"""Serve remote service discovery: the services of a phone with iOS 17 or newer in its tunnel, each on its own port."""

from __future__ import annotations

import functools
import uuid
from typing import Any

from harness.virtual.ios import debugserver, lockdown, services
from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Handler, Phone
from harness.virtual.ios.services import Service
from harness.virtual.ios.stdio import Sockets
from harness.virtual.ios.stream import Connection, Dropped, Listener

APP_SERVICE = "com.apple.coredevice.appservice"
TRUSTED_LOCKDOWN = "com.apple.mobile.lockdown.remote.trusted"


class Discovery:
    """Serve one phone's ports on loopback; they exist as long as it runs, and answer while it has a tunnel."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._uuid = uuid.uuid4()
        self._listeners: list[Listener] = []
        self._ports: dict[str, int] = {}
        self._sockets = Sockets()
        self.port = 0

    async def start(self) -> None:
        for name, service in self._services().items():
            self._ports[name] = await self._listen(service.handler)
        self.port = await self._listen(self._discover)
        self._phone.discovery_port, self._phone.service_ports = self.port, tuple(self._ports.values())

    def stop(self) -> None:
        for listener in self._listeners:
            listener.stop()

    def _services(self) -> dict[str, Service]:
        shims = {
            f"{name}.shim.remote": Service(_checked_in(name, service.handler), service.developer)
            for name, service in services.SERVICES.items()
        }
        trusted: Handler = functools.partial(lockdown.serve, trusted=True)
        return {
            **shims,
            TRUSTED_LOCKDOWN: Service(_checked_in(TRUSTED_LOCKDOWN, trusted)),
            "com.apple.instruments.dtservicehub": Service(services.serve_dvt, developer=True),
            "com.apple.internal.dt.remote.debugproxy": Service(debugserver.serve, developer=True),
            APP_SERVICE: Service(self._serve_apps, developer=True),
            "com.apple.coredevice.openstdiosocket": Service(self._sockets.serve, developer=True),
        }

    async def _listen(self, handler: Handler) -> int:
        listener = Listener(functools.partial(self._serve, handler))
        self._listeners.append(listener)
        return await listener.start()

    async def _serve(self, handler: Handler, connection: Connection) -> None:
        if not self._phone.tunnel:
            connection.abort()
            return
        with self._phone.attend(connection, "tunnel"):
            await handler(self._phone, connection)

    async def _serve_apps(self, phone: Phone, connection: Connection) -> None:
        from harness.virtual.ios import appservice  # imports pymobiledevice3, which takes a second

        await appservice.serve(phone, connection, self._sockets)

    async def _discover(self, phone: Phone, connection: Connection) -> None:
        from harness.virtual.ios.remotexpc import RemoteXpc

        channel = RemoteXpc(connection)
        await channel.open()
        async for message in channel.messages():
            if message.content.get("MessageType") == "Handshake":
                try:
                    await phone.faults.at("rsd.handshake", connection)
                except Refused as refused:
                    raise Dropped from refused
                await channel.send(self._describe(phone))

    def _describe(self, phone: Phone) -> dict[str, Any]:
        from pymobiledevice3.remote.xpc_message import XpcUInt64Type

        from harness.virtual.ios import appservice

        identity = phone.identity
        offered = {}
        for name, service in self._services().items():
            if services.available(phone, service):
                properties: dict[str, Any] = {"UsesRemoteXPC": name == APP_SERVICE}
                if name == APP_SERVICE:
                    properties["Features"] = appservice.features(phone)
                offered[name] = {"Port": str(self._ports[name]), "Properties": properties}
        return {
            "MessageType": "Handshake",
            "MessagingProtocolVersion": XpcUInt64Type(7),
            "UUID": self._uuid,
            "Properties": {
                "BuildVersion": identity.build,
                "CPUArchitecture": "arm64e",
                "DeviceClass": "iPhone",
                "HWModel": identity.hardware_model,
                "OSVersion": identity.os_version,
                "ProductName": "iPhone OS",
                "ProductType": identity.product_type,
                "UniqueChipID": XpcUInt64Type(identity.ecid),
                "UniqueDeviceID": identity.udid,
            },
            "Services": offered,
        }


def _checked_in(name: str, handler: Handler) -> Handler:
    """Return a service of lockdownd's for clients from a tunnel, which check in before they use it."""

    async def serve(phone: Phone, connection: Connection) -> None:
        await connection.read_plist()
        await connection.send_plist({"Request": "RSDCheckin"})
        error = "PasswordProtected" if phone.state.before_first_unlock else None
        try:
            await phone.faults.at(f"start:{name}", connection)
        except Refused as refused:
            error = refused.error or "InvalidService"
        answer = {"Request": "StartService", "Service": name}
        if error is not None:
            await connection.send_plist({**answer, "Error": error})
            return
        await connection.send_plist(answer)
        await handler(phone, connection)

    return serve
