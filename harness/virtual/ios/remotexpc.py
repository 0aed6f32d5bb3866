"""Implement the phone's side of RemoteXPC: messages of XPC objects, framed as HTTP/2.

The objects' encoding is pymobiledevice3's; its connection class is only for clients.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from bytestruct import BinaryParseError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from pymobiledevice3.remote.xpc_message import (
    XpcFlags,
    XpcMessageType,
    XpcWrapper,
    create_xpc_wrapper,
    decode_xpc_object,
)

from harness.virtual.ios.stream import Connection, Dropped

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9
MAXIMUM_FRAME_BYTES = 16384
MAXIMUM_MESSAGE_BYTES = 64 << 20
WINDOW_BYTES = 16 << 20
ROOT_STREAM, REPLY_STREAM = 1, 3
_WRAPPER_HEADER_BYTES = 24
_REPLY = int(XpcFlags.REPLY)


@dataclass(frozen=True)
class Message:
    """Hold a message of the other side; a wanted reply uses its ``id``."""

    id: int
    content: dict[str, Any]
    wants_reply: bool


class RemoteXpc:
    """Hold one connection. Every method raises Dropped once the other side has gone or breaks the protocol."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pending: dict[int, bytes] = {}
        self._next_id = 2

    async def open(self) -> None:
        """Read the other side's preface, and send the settings that this side accepts."""
        if await self._connection.read(len(MAGIC)) != MAGIC:
            raise Dropped
        settings = {SettingsFrame.MAX_CONCURRENT_STREAMS: 100, SettingsFrame.INITIAL_WINDOW_SIZE: WINDOW_BYTES}
        await self._send(SettingsFrame(settings=settings))
        await self._send(WindowUpdateFrame(stream_id=0, window_increment=WINDOW_BYTES - 65535))

    async def messages(self) -> AsyncIterator[Message]:
        """Yield the other side's messages until it ends."""
        while True:
            frame = await self._frame()
            if isinstance(frame, (GoAwayFrame, RstStreamFrame)):
                raise Dropped
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                await self._send(SettingsFrame(flags=["ACK"]))
            if isinstance(frame, DataFrame):
                if frame.body_len:
                    for stream in (0, frame.stream_id):
                        await self._send(WindowUpdateFrame(stream_id=stream, window_increment=frame.body_len))
                message = self._take(frame)
                if message is not None:
                    yield message

    async def send(self, content: dict[str, Any]) -> None:
        """Send a message that is not an answer."""
        await self._send_data(ROOT_STREAM, create_xpc_wrapper(content, message_id=self._next_id))
        self._next_id += 2

    async def reply(self, message: Message, content: dict[str, Any]) -> None:
        wrapper = XpcWrapper.parse(create_xpc_wrapper(content, message_id=message.id))
        wrapper.flags = int(wrapper.flags) | _REPLY
        await self._send_data(REPLY_STREAM, wrapper.build())

    def _take(self, frame: DataFrame) -> Message | None:
        data = self._pending.pop(frame.stream_id, b"") + frame.data
        if len(data) > MAXIMUM_MESSAGE_BYTES:
            raise Dropped
        if len(data) < _WRAPPER_HEADER_BYTES or len(data) < _WRAPPER_HEADER_BYTES + int.from_bytes(
            data[8:16], "little"
        ):
            self._pending[frame.stream_id] = data
            return None
        try:
            wrapper = XpcWrapper.parse(data)
        except BinaryParseError as error:
            raise Dropped from error
        payload = wrapper.payload
        if payload is None or payload.type != XpcMessageType.DICTIONARY or not payload.data:
            return None
        content = decode_xpc_object(payload)
        return Message(wrapper.message_id, content, bool(wrapper.flags & XpcFlags.WANTING_REPLY))

    async def _frame(self) -> Any:
        try:
            frame, size = Frame.parse_frame_header(memoryview(await self._connection.read(FRAME_HEADER_BYTES)))
            frame.parse_body(memoryview(await self._connection.read(size)))
        except (HyperframeError, ValueError) as error:
            raise Dropped from error
        return frame

    async def _send_data(self, stream: int, data: bytes) -> None:
        # One write, so that a fault that halves a message halves all of it.
        frames = [
            DataFrame(stream_id=stream, data=data[at : at + MAXIMUM_FRAME_BYTES]).serialize()
            for at in range(0, len(data), MAXIMUM_FRAME_BYTES)
        ]
        await self._connection.send(b"".join(frames))

    async def _send(self, frame: Any) -> None:
        # Housekeeping frames are no messages, so a fault must not halve them.
        truncate, self._connection.truncate_next = self._connection.truncate_next, False
        await self._connection.send(frame.serialize())
        self._connection.truncate_next = truncate
