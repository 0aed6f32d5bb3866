"""The few words of gdb's remote protocol that launch an app and follow it to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymobiledevice3.exceptions import ConnectionTerminatedError

SERVICES = {
    "16": "com.apple.debugserver.DVTSecureSocketProxy",
    "17": "com.apple.internal.dt.remote.debugproxy",
    "26": "com.apple.internal.dt.remote.debugproxy",
}


class Gdb:
    """A debugger on a connection to debugserver."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._acknowledges = True

    @classmethod
    async def open(cls, provider: Any, ios_version: str) -> Gdb:
        attributes = provider.start_lockdown_developer_service
        return cls(await attributes(SERVICES[ios_version]))

    async def ask(self, packet: str) -> str:
        await self.send(packet)
        return await self.receive()

    async def send(self, packet: str) -> None:
        data = packet.encode()
        await self._connection.sendall(b"$" + data + b"#" + f"{sum(data) & 0xFF:02x}".encode())
        if self._acknowledges:
            assert await self._connection.recvall(1) == b"+"
        if packet == "QStartNoAckMode":
            assert await self.receive() == "OK"
            self._acknowledges = False

    async def receive(self) -> str:
        assert await self._connection.recvall(1) == b"$"
        body = b""
        while (byte := await self._connection.recvall(1)) != b"#":
            body += byte
        assert int(await self._connection.recvall(2), 16) == sum(body) & 0xFF
        if self._acknowledges:
            await self._connection.sendall(b"+")
        return body.decode()

    async def launch(self, executable: Path, *arguments: str, environment: dict[str, str]) -> str:
        """What ``qLaunchSuccess`` answers."""
        await self.send("QStartNoAckMode")
        for name, value in environment.items():
            assert await self.ask("QEnvironmentHexEncoded:" + f"{name}={value}".encode().hex()) == "OK"
        words = [word.encode().hex() for word in (str(executable), *arguments)]
        packed = ",".join(f"{len(word)},{number},{word}" for number, word in enumerate(words))
        assert await self.ask("A" + packed) == "OK"
        return await self.ask("qLaunchSuccess")

    async def go(self) -> tuple[str, str]:
        """Let it run to where it stops: the output, and the packet with the reason why it stopped."""
        await self.send("c")
        output = b""
        while (packet := await self.receive()).startswith("O"):
            output += bytes.fromhex(packet[1:])
        return output.decode(), packet

    async def ended(self) -> bool:
        """Whether the other side closes the connection."""
        try:
            await self._connection.recvall(1)
        except ConnectionTerminatedError:
            return True
        return False

    async def close(self) -> None:
        await self._connection.close()
