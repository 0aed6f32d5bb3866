"""List the adb server's devices: by its binary listing if it has one, else by the lines of ``adb devices -l``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adbutils import AdbConnection, AdbError

from harness.core.errors import HarnessError
from harness.devices.android.address import Address
from harness.devices.android.server import ASK_SECONDS, Server

_BINARY = "devicetracker_proto_format"
"""The feature of servers with the binary listing (platform tools 35.0.2 and newer)."""
_STATES = (
    "any", "connecting", "authorizing", "unauthorized", "no permissions", "detached", "offline", "bootloader",
    "device", "host", "recovery", "sideload", "rescue",
)  # fmt: skip
"""``ConnectionState`` of adb's own protocol, by the names in its textual listing."""
_CONNECTIONS = ("", "usb", "network")
NO_SERIAL = "(no serial number)"
_TAG = re.compile(
    r" (?:(?P<name>product|model|device|features|transport_id):(?P<value>\S*)|(?P<path>usb:\S+|\d+-[\d.]+))$"
)
_STATE = re.compile(rf"^(?P<serial>.*?)\s+(?P<state>{'|'.join(_STATES)}|unknown|<unknown>)$")
_REFUSED = re.compile(r"^(?P<serial>.*?)\s+no permissions\b.*$")
_SERIAL, _STATE_FIELD, _PATH, _PRODUCT, _MODEL, _DEVICE, _CONNECTION, _SPEED, _MOST_SPEED, _TRANSPORT = range(1, 11)


@dataclass(frozen=True)
class Listed:
    """Describe one transport of the server: a phone by its cable, or the same phone over the network.

    ``path`` is the place where it is plugged in (``usb:1-2``), empty for one on the network. Speeds are in megabits a
    second, None if the server does not report them. ``transport`` is None only with servers from before 2018.
    ``at`` is the server's name if several are used, else empty.
    """

    serial: str
    state: str
    transport: int | None = None
    path: str = ""
    product: str = ""
    model: str = ""
    device: str = ""
    connection: str = ""
    speed: int | None = None
    most_speed: int | None = None
    at: str = ""

    @property
    def label(self) -> str:
        """Return a name for a person: the serial, else the place where it is plugged in, else the transport."""
        return self.there(self.serial or self._place)

    @property
    def _place(self) -> str:
        return self.path or (f"transport_id:{self.transport}" if self.transport else NO_SERIAL)

    def there(self, name: str) -> str:
        """Return a name of this device with the name of its server, if there are several."""
        return f"{name}@{self.at}" if self.at else name

    def lock_name(self, server: Address) -> str:
        """Return its name among the devices that this machine reaches; the serials of another machine's are others."""
        name = self.serial or self._place
        return name if server.local or _is_of_network(name) else f"{name} of {server.host}"

    def is_called(self, name: str) -> bool:
        """Return whether ``adb -s name`` would mean this one; ``transport_id:N`` is the one of ``adb -t N``.

        With several servers ``name@HOST:PORT`` is the one of that server.
        """
        if self.at:
            name = name.removesuffix(f"@{self.at}")
        names = {self.serial, self.path, f"transport_id:{self.transport}"}
        names |= {f"{key}:{getattr(self, key)}" for key in ("product", "model", "device") if getattr(self, key)}
        return bool(name) and name in names


def identity(hardware: str | None, place: Listed, known: Sequence[Listed], server: Address) -> str:
    """Return an identity of one phone, however it is attached: its own serial if it has one.

    Boards of one batch may share a serial. If two of them are plugged in at once, their places are added.
    """
    name = hardware or place.lock_name(server)
    twins = [other for other in known if other.path and other.serial == place.serial]
    return f"{name} {place.path}" if place.path and len(twins) > 1 else name


def distinct_name(place: Listed, known: Sequence[Listed]) -> str:
    """Return a name that means this device and none of the others."""
    names = [place.there(name) for name in (place.serial, place.path, f"transport_id:{place.transport}") if name]
    alone = [name for name in names if sum(other.is_called(name) for other in known) == 1]
    return alone[0] if alone else place.label


def listed_at(servers: Sequence[Server]) -> list[tuple[Server, Listed]]:
    """Return every transport of these servers. One of several that does not answer lists nothing.

    Raises what Server.deadline does if none answers.
    """
    found: list[tuple[Server, Listed]] = []
    errors: list[HarnessError] = []
    for server in servers:
        at = server.address.name if len(servers) > 1 else ""
        try:
            found += [(server, replace(place, at=at)) for place in listed(server)]
        except HarnessError as error:
            errors.append(error)
    if errors and len(errors) == len(servers):
        raise errors[0]
    return found


def listed(server: Server) -> list[Listed]:
    """Return every transport of the server, in any state; raises what Server.deadline does."""
    with server.deadline(ASK_SECONDS, "listing the attached devices"):
        if _BINARY in _ask(server, "host:host-features").decode(errors="replace").split(","):
            return parse_binary(_ask(server, "host:track-devices-proto-binary"))
        return parse_lines(_ask(server, "host:devices-l").decode(errors="replace"))


def _ask(server: Server, service: str) -> bytes:
    connection = server.make_connection()
    try:
        connection.send_command(service)
        connection.check_okay()
        return _block(connection)
    except AdbError as error:
        # An older server answers that it has no service of that name.
        if "unknown host service" in str(error) and service == "host:host-features":
            return b""
        raise
    finally:
        connection.close()


def _block(connection: AdbConnection) -> bytes:
    length = connection.read_exact(4)
    try:
        block: bytes = connection.read_exact(int(length, 16))
    except ValueError:
        raise AdbError(f"no length, but {length!r}") from None
    return block


def parse_lines(text: str) -> list[Listed]:
    """Parse the lines of ``adb devices -l``. The end of a line is unambiguous, and the rest before it is the serial."""
    return [found for line in text.splitlines() if (found := _parse_line(line.rstrip())) is not None]


def _parse_line(line: str) -> Listed | None:
    tags: dict[str, str] = {}
    rest = line
    while match := _TAG.search(rest):
        tags.setdefault(match["name"] or "path", match["value"] or match["path"] or "")
        rest = rest[: match.start()]
    match, state = _STATE.match(rest), ""
    if match is not None:
        state = match["state"]
    else:
        match, state = _REFUSED.match(rest), "no permissions"
    if match is None:
        return None
    transport = tags.get("transport_id", "")
    path = tags.get("path", "")
    serial = match["serial"].strip()
    return Listed(
        serial="" if serial == NO_SERIAL else serial,
        state=state,
        transport=int(transport) if transport.isascii() and transport.isdigit() else None,
        path=path,
        product=tags.get("product", ""),
        model=tags.get("model", ""),
        device=tags.get("device", ""),
        connection="usb" if path else "network" if _is_of_network(serial) else "",
    )


def _is_of_network(serial: str) -> bool:
    return bool(re.search(r":\d+$|\._adb[a-z-]*\._tcp\.?$", serial))


def parse_binary(data: bytes) -> list[Listed]:
    """Parse a message ``Devices`` of adb's own protocol; raises AdbError if it is none."""
    return [_device(value) for number, value in _fields(data) if number == 1 and isinstance(value, bytes)]


def _device(data: bytes) -> Listed:
    found = dict(_fields(data))

    def text(number: int) -> str:
        value = found.get(number, b"")
        return value.decode(errors="replace") if isinstance(value, bytes) else ""

    def count(number: int) -> int:
        value = found.get(number, 0)
        return value if isinstance(value, int) else 0

    state, connection, serial = count(_STATE_FIELD), count(_CONNECTION), text(_SERIAL)
    return Listed(
        serial="" if serial == NO_SERIAL else serial,
        state=_STATES[state] if 0 < state < len(_STATES) else f"state {state}",
        transport=count(_TRANSPORT) or None,
        path=text(_PATH),
        product=text(_PRODUCT),
        model=text(_MODEL),
        device=text(_DEVICE),
        connection=_CONNECTIONS[connection] if connection < len(_CONNECTIONS) else "",
        speed=count(_SPEED) or None,
        most_speed=count(_MOST_SPEED) or None,
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the numbered fields of a protocol buffer, without the kinds that adb does not use."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(data, at)
            if length > len(data) - at:
                raise AdbError("the list of devices breaks off")
            yield number, data[at : at + length]
            at += length
        elif kind in (1, 5) and len(data) - at >= (8 if kind == 1 else 4):
            at += 8 if kind == 1 else 4
        else:
            raise AdbError("the list of devices is none")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & (2**64 - 1), at + place + 1
    raise AdbError("the list of devices breaks off")
