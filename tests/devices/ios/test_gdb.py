"""What debugserver sends, in the words that its sources (lldb/tools/debugserver) write."""

from __future__ import annotations

import asyncio

import pytest
from pymobiledevice3.exceptions import ConnectionTerminatedError, ProtocolError

from harness.devices.ios.launchers.gdb import GdbConnection, Stop, arguments_packet, stop_of

SIGABRT, SIGSEGV, SIGTRAP, SIGSTOP = 6, 11, 5, 17


@pytest.mark.parametrize(
    ("reply", "stop"),
    [
        (
            "T06thread:1a2b;threads:1a2b,1a2c;00:0000;metype:5;mecount:2;medata:10003;medata:6;",
            Stop(SIGABRT, False, "1a2b"),
        ),
        ("T91thread:1a2b;metype:1;mecount:2;medata:1;medata:0;", Stop(SIGSEGV, True, "1a2b")),
        ("T05thread:1a2b;metype:6;mecount:2;medata:1;medata:102;", Stop(SIGTRAP, True, "1a2b")),
        ("T11thread:1a2b;metype:5;mecount:2;medata:10003;medata:11;", Stop(SIGSTOP, False, "1a2b")),
        ("S0b", Stop(SIGSEGV, False, "")),
        ("T00thread:1;", Stop(0, False, "1")),
    ],
)
def test_a_stop_is_read(reply: str, stop: Stop) -> None:
    assert stop_of(reply) == stop


@pytest.mark.parametrize("reply", ["T", "Tzzthread:1;", "T05metype:six;"])
def test_a_stop_that_is_none_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        stop_of(reply)


def test_a_program_goes_on_by_its_own_signal() -> None:
    assert stop_of("T06thread:1a2b;").onward == "vCont;C06:1a2b;c"
    assert stop_of("S1e").onward == "C1e"
    assert stop_of("T00thread:1;").onward == "c"


def test_arguments_are_counted_in_hexadecimal_digits() -> None:
    assert arguments_packet(["/a", "b"]) == "A4,0,2f61,2,1,62"


class Sent(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def received(data: bytes) -> tuple[str, bytes]:
    """The packet in these bytes, and what was answered."""
    loop = asyncio.get_running_loop()
    reader, sent = asyncio.StreamReader(), Sent()
    reader.feed_data(data)
    reader.feed_eof()
    protocol = asyncio.StreamReaderProtocol(reader)
    gdb = GdbConnection(reader, asyncio.StreamWriter(sent, protocol, reader, loop))
    return await gdb.receive(), sent.data


def packet(payload: bytes) -> bytes:
    return b"$%s#%02x" % (payload, sum(payload) % 256)


@pytest.mark.parametrize(("payload", "reply"), [(b"OK", "OK"), (b"0* ", "0000"), (b"O}\x03", "O#"), (b"", "")])
def test_a_packet_is_acknowledged_and_expanded(payload: bytes, reply: str) -> None:
    assert asyncio.run(received(b"+" + packet(payload))) == (reply, b"+")


def test_damaged_and_torn_packets_are_refused() -> None:
    with pytest.raises(ProtocolError, match="damaged"):
        asyncio.run(received(b"$OK#00"))
    with pytest.raises(ProtocolError, match="between packets"):
        asyncio.run(received(b"?"))
    with pytest.raises(ConnectionTerminatedError):
        asyncio.run(received(b"$OK"))
