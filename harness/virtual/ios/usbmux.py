"""Serve usbmuxd: the plugged-in phones, pair records, and connections to a phone's ports."""

from __future__ import annotations

import asyncio
import plistlib
import re
import socket
import struct
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from harness.virtual.ios import lockdown
from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection, Dropped, Listener

VERSION = 1
PLIST = 8
LOCKDOWN_PORT = 62078
OK, BAD_COMMAND, BAD_DEVICE, REFUSED = 0, 1, 2, 3
MAXIMUM_BYTES = 1 << 20
_HEADER = struct.Struct("<IIII")
_RECORD = re.compile(r"[A-Za-z0-9-]{1,64}")


class Usbmuxd:
    """Run the daemon on a loopback port. Pair records are kept in ``folder``."""

    def __init__(self, folder: Path, phones: list[Phone]) -> None:
        self._folder = folder
        self._phones = phones
        self._listeners: set[Connection] = set()
        # An attached phone gets a new number each time, as from the real usbmuxd.
        self._numbers = {phone.identity.udid: number for number, phone in enumerate(phones, 1)}
        self._listener = Listener(self._serve)
        self._sending: set[asyncio.Task[None]] = set()
        folder.mkdir(parents=True, exist_ok=True)
        for phone in phones:
            phone.on_plug = self._plugged

    async def start(self) -> int:
        """Listen, and return the port."""
        return await self._listener.start()

    def stop(self) -> None:
        self._listener.stop()

    def _plugged(self, phone: Phone) -> None:
        if phone.plugged:
            self._numbers[phone.identity.udid] = max(self._numbers.values()) + 1
            message = self._attached(phone)
        else:
            message = {"MessageType": "Detached", "DeviceID": self._numbers[phone.identity.udid]}
        for connection in list(self._listeners):
            task = asyncio.get_running_loop().create_task(self._notify(connection, message))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _notify(self, connection: Connection, message: dict[str, Any]) -> None:
        try:
            await _send(connection, 0, message)
        except Dropped:
            self._listeners.discard(connection)

    def _attached(self, phone: Phone) -> dict[str, Any]:
        number = self._numbers[phone.identity.udid]
        properties = {
            "ConnectionSpeed": 480_000_000,
            "ConnectionType": "USB",
            "DeviceID": number,
            "LocationID": 0x1400_0000 + number,
            "ProductID": 0x12A8,
            "SerialNumber": phone.identity.udid,
            "USBSerialNumber": phone.identity.udid.replace("-", ""),
        }
        return {"MessageType": "Attached", "DeviceID": number, "Properties": properties}

    async def _serve(self, connection: Connection) -> None:
        try:
            while True:
                size, version, kind, tag = _HEADER.unpack(await connection.read(_HEADER.size))
                if not _HEADER.size <= size <= MAXIMUM_BYTES:
                    return
                body = await connection.read(size - _HEADER.size)
                try:
                    request = plistlib.loads(body) if (version, kind) == (VERSION, PLIST) else {}
                except (plistlib.InvalidFileException, ExpatError, ValueError):
                    request = {}
                if request.get("MessageType") == "Connect":
                    await self._connect(connection, tag, request)
                    return
                await self._answer(connection, tag, request)
        finally:
            self._listeners.discard(connection)

    async def _answer(self, connection: Connection, tag: int, request: dict[str, Any]) -> None:
        match request.get("MessageType"):
            case "ReadBUID":
                await _send(connection, tag, {"BUID": "5AE2B4C0-0000-4000-8000-1D1D1D1D1D1D"})
            case "ListDevices":
                attached = [self._attached(phone) for phone in self._phones if phone.plugged]
                await _send(connection, tag, {"DeviceList": attached})
            case "ListListeners":
                await _send(connection, tag, {"ListenerList": []})
            case "Listen":
                await _result(connection, tag, OK)
                for phone in self._phones:
                    if phone.plugged:
                        await _send(connection, 0, self._attached(phone))
                self._listeners.add(connection)
            case "ReadPairRecord":
                record = self._record(request)
                if record is not None and record.is_file():
                    await _send(connection, tag, {"PairRecordData": record.read_bytes()})
                else:
                    await _result(connection, tag, BAD_DEVICE)
            case "SavePairRecord":
                record = self._record(request)
                data = request.get("PairRecordData")
                if record is None or not isinstance(data, bytes):
                    await _result(connection, tag, BAD_COMMAND)
                else:
                    record.write_bytes(data)
                    await _result(connection, tag, OK)
            case "DeletePairRecord":
                record = self._record(request)
                if record is not None:
                    record.unlink(missing_ok=True)
                await _result(connection, tag, OK)
            case _:
                await _result(connection, tag, BAD_COMMAND)

    def _record(self, request: dict[str, Any]) -> Path | None:
        name = request.get("PairRecordID")
        return self._folder / f"{name}.plist" if isinstance(name, str) and _RECORD.fullmatch(name) else None

    async def _connect(self, connection: Connection, tag: int, request: dict[str, Any]) -> None:
        number = request.get("DeviceID")
        phone = next((p for p in self._phones if p.plugged and self._numbers[p.identity.udid] == number), None)
        if phone is None:
            await _result(connection, tag, BAD_DEVICE)
            return
        with phone.attend(connection, "usb"):
            try:
                await phone.faults.at("usbmux.connect", connection)
            except Refused:
                await _result(connection, tag, REFUSED)
                return
            number = request.get("PortNumber")
            port = socket.ntohs(number & 0xFFFF) if isinstance(number, int) else 0
            if port == LOCKDOWN_PORT:
                await _result(connection, tag, OK)
                await lockdown.serve(phone, connection)
                return
            opened = phone.take_port(port)
            if opened is None:
                await _result(connection, tag, REFUSED)
                return
            handler, host = opened
            if host is not None:
                connection.hold()
            await _result(connection, tag, OK)
            if host is not None:
                await connection.start_tls(phone.pairings.tls(host))
            await handler(phone, connection)


async def _result(connection: Connection, tag: int, number: int) -> None:
    await _send(connection, tag, {"MessageType": "Result", "Number": number})


async def _send(connection: Connection, tag: int, message: dict[str, Any]) -> None:
    data = plistlib.dumps(message)
    await connection.send(_HEADER.pack(_HEADER.size + len(data), VERSION, PLIST, tag) + data)
