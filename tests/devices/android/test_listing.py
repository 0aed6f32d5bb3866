"""What adb servers list, in both their forms, and which device is meant by which name."""

from __future__ import annotations

from pathlib import Path

import adbutils
import pytest
from adbutils import AdbError
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import HarnessError, UsageError
from harness.devices import Unavailable, parse_device
from harness.devices.android import Server, attached_devices, listing
from harness.devices.android.address import Address, parse_spec, server_address
from harness.devices.android.choice import choose, unusable
from harness.devices.android.listing import Listed, distinct_name, identity, listed, parse_binary, parse_lines
from harness.devices.errors import AmbiguousDevice, DeviceLost, DeviceUnauthorized
from harness.virtual.android.device import free_port
from tests.devices.android.conftest import Scene
from tests.devices.android.fake_adb import FakeAdb, fake_adb

OUTPUTS = Path(__file__).with_name("outputs")
RULES = (
    "no permissions (missing udev rules? user is in the plugdev group); see [http://developer.android.com/tools/device]"
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANDROID_SERIAL", "ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def lines(name: str) -> list[str]:
    return (OUTPUTS / f"{name}.txt").read_text().splitlines()


def chosen(server: FakeAdb, spec: str = "android", wait: float = 0.3) -> list[Listed | Unavailable]:
    found = choose(parse_device(spec), [Server(server.port, starts=False)], print, wait_seconds=wait)
    return [one if isinstance(one, Unavailable) else one[1] for one in found]


def test_a_phone_found_twice_by_mdns_is_one_and_usable() -> None:
    (phone,) = parse_lines("\n".join(lines("devices-mdns-twice")))
    assert phone == Listed(
        serial="adb-35121JEHN28132-jr888A (2)._adb-tls-connect._tcp",
        state="device",
        transport=2426,
        product="lynx",
        model="Pixel_7a",
        device="lynx",
        connection="network",
    )
    with fake_adb(*lines("devices-mdns-twice")) as server:
        assert chosen(server) == [phone]
        assert chosen(server, f"android:{phone.serial}") == [phone]


def test_phones_are_distinguished_by_transport() -> None:
    found = parse_lines("\n".join(lines("devices-no-serial")))
    assert [(phone.serial, phone.state, phone.transport, phone.path) for phone in found] == [
        ("", "device", 4, "usb:1-2"),
        ("0123456789ABCDEF", "device", 1, "usb:1-1"),
        ("0123456789ABCDEF", "device", 2, "usb:1-2"),
        ("192.168.1.50:5555", "connecting", 7, ""),
    ]
    assert [distinct_name(phone, found) for phone in found] == [
        "transport_id:4",
        "usb:1-1",
        "transport_id:2",
        "192.168.1.50:5555",
    ]
    assert len({identity(phone.serial or None, phone, found, Address()) for phone in found}) == 4
    notices: list[str] = []
    with fake_adb(*lines("devices-no-serial")) as server:
        everyone = choose(
            parse_device("android:all"), [Server(server.port, starts=False)], notices.append, wait_seconds=0.3
        )
        assert [one[1] for one in everyone if not isinstance(one, Unavailable)] == found[:3]
        assert notices[0].startswith("waiting up to 0 s for 192.168.1.50:5555 (connecting)")
        assert notices[1] == "left out: device 192.168.1.50:5555 is in the state 'connecting'"
        assert chosen(server, "android:transport_id:2") == [found[2]]
        assert chosen(server, "android:usb:1-1") == [found[1]]
        with pytest.raises(AmbiguousDevice, match="2 devices are called 0123456789ABCDEF") as info:
            chosen(server, "android:0123456789ABCDEF")
        assert info.value.cure == "name one of usb:1-1, transport_id:2"
        with pytest.raises(AmbiguousDevice, match=r"3 devices are attached: transport_id:4 \(Foo\), usb:1-1 \(Foo\)"):
            chosen(server)


def test_one_that_is_still_connecting_is_waited_for() -> None:
    looks = iter(
        [["A connecting transport_id:1"]] * 2 + [["A authorizing transport_id:1"], ["A offline transport_id:1"]]
    )
    now = ["A device transport_id:2 model:Pixel_8"]
    for spec in ("android", "android:all", "android:A"):
        with fake_adb(changing=lambda: next(looks, now)) as server:
            assert chosen(server, spec, wait=20) == [Listed("A", "device", 2, model="Pixel_8")]


@pytest.mark.parametrize(
    ("line", "error", "cure"),
    [
        ("A offline transport_id:1", DeviceLost, "plug it in again"),
        ("A unauthorized usb:1-1 transport_id:1", DeviceUnauthorized, "unlock"),
        ("A authorizing usb:1-1 transport_id:1", DeviceUnauthorized, "unlock"),
        (f"A {RULES} usb:1-1 transport_id:1", DeviceUnauthorized, "udev"),
        ("A no permissions; see [http://developer.android.com/tools/device.html]", DeviceUnauthorized, "plugdev"),
        ("A connecting transport_id:1", DeviceLost, "awake"),
        ("A detached usb:1-1 transport_id:1", DeviceLost, "adb attach"),
        ("A recovery usb:1-1 transport_id:1", DeviceLost, "adb reboot"),
        ("A sideload usb:1-1 transport_id:1", DeviceLost, "adb reboot"),
        ("A rescue usb:1-1 transport_id:1", DeviceLost, "adb reboot"),
        ("A bootloader usb:1-1 transport_id:1", DeviceLost, "fastboot reboot"),
    ],
)
def test_every_state_has_its_cure(line: str, error: type[HarnessError], cure: str) -> None:
    (place,) = parse_lines(line)
    assert place.serial == "A"
    why = unusable(place)
    assert isinstance(why, error)
    assert cure in why.cure or (cure in ("udev", "plugdev") and "android-sdk-platform-tools-common" in why.cure)
    with fake_adb(line) as server:
        with pytest.raises(error):
            chosen(server)
        (seen,) = attached_devices(Server(server.port, starts=False))
        assert (seen.serial, seen.usable) == ("A", False)


def test_a_computer_that_debugs_others_is_no_device() -> None:
    with fake_adb("B host transport_id:1", "A device transport_id:2") as server:
        assert chosen(server) == [Listed("A", "device", 2)]
        assert chosen(server, "android:all") == [Listed("A", "device", 2)]
        (seen,) = attached_devices(Server(server.port, starts=False))
        assert seen.serial == "A"


@pytest.mark.parametrize(
    "line", ["", "* daemon started successfully *", "List of devices attached", "A", "device", " "]
)
def test_what_is_no_line_of_a_device(line: str) -> None:
    assert parse_lines(line) == []


def test_a_serial_that_looks_like_the_rest_of_a_line() -> None:
    (place,) = parse_lines("transport_id:1 device  device usb:1-1 transport_id:9")
    assert (place.serial, place.state, place.path, place.transport) == ("transport_id:1 device", "device", "usb:1-1", 9)
    (place,) = parse_lines("HT4CJ0203660           device 1-1.2 product:x model:y device:z transport_id:3")
    assert (place.serial, place.path, place.connection) == ("HT4CJ0203660", "1-1.2", "usb")


def field(number: int, value: int | str) -> bytes:
    def varint(rest: int) -> bytes:
        head = b""
        while rest > 0x7F:
            head += bytes([rest & 0x7F | 0x80])
            rest >>= 7
        return head + bytes([rest])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value.encode())) + value.encode()


def device(**fields: int | str) -> bytes:
    numbers = (
        "serial",
        "state",
        "path",
        "product",
        "model",
        "device",
        "connection",
        "speed",
        "most_speed",
        "transport",
    )
    body = b"".join(field(numbers.index(name) + 1, value) for name, value in fields.items())
    return b"\x0a" + bytes([len(body)]) + body


def test_the_binary_listing_is_preferred_and_has_the_speed_of_the_cable() -> None:
    binary = device(
        serial="A B", state=8, path="usb:1-2", model="Pixel_9", connection=1, speed=480, most_speed=5000, transport=3
    )
    binary += device(state=4, path="usb:1-3", connection=1, transport=2**40) + device(serial="C", state=99)
    with fake_adb("nonsense", binary=binary) as server:
        found = listed(Server(server.port, starts=False))
        assert server.asked == ["host:host-features", "host:track-devices-proto-binary"]
    assert found == [
        Listed("A B", "device", 3, "usb:1-2", model="Pixel_9", connection="usb", speed=480, most_speed=5000),
        Listed("", "no permissions", 2**40, "usb:1-3", connection="usb"),
        Listed("C", "state 99"),
    ]


def test_the_numbers_are_those_of_adbs_own_description() -> None:
    """The bundled adb carries the description of its protocol, with every name and number."""
    adb = (Path(adbutils.__file__).parent / "binaries/adb").read_bytes()
    at = adb.index(b"\x0fConnectionState\x12")
    states = adb[at : at + 250]
    named = {"no permissions": "NOPERMISSION"}
    for number, state in enumerate(listing._STATES):
        name = named.get(state, state.upper()).encode()
        assert bytes([len(name)]) + name + b"\x10" + bytes([number]) in states
    for number, name in enumerate(
        (b"serial", b"state", b"bus_address", b"product", b"model", b"device", b"connection_type", b"negotiated_speed",
         b"max_speed", b"transport_id"), start=1
    ):  # fmt: skip
        assert bytes([len(name)]) + name + b"\x18" + bytes([number]) in adb
    assert b"\x07UNKNOWN\x10\x00\x12\x07\n\x03USB\x10\x01\x12\n\n\x06SOCKET\x10\x02" in adb
    assert listing._BINARY.encode() in adb


def test_both_listings_of_the_real_server_agree(scene: Scene) -> None:
    server = scene.server
    binary = listed(server)
    text = parse_lines(listing._ask(server, "host:devices-l").decode())
    assert [(place.serial, place.state, place.transport) for place in binary] == [
        (place.serial, place.state, place.transport) for place in text
    ]
    assert [place.connection for place in binary] == ["network"]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_listing(data: bytes) -> None:
    try:
        found = parse_binary(data)
    except AdbError:
        return
    assert all(isinstance(place.label, str) for place in found)


@given(st.text(max_size=100))
def test_no_text_breaks_the_listing(text: str) -> None:
    for place in parse_lines(text):
        assert place.state


@pytest.mark.parametrize(
    ("environment", "address", "spec"),
    [
        ({}, Address(), "tcp:5037"),
        ({"ANDROID_ADB_SERVER_PORT": "5038"}, Address(port=5038), "tcp:5038"),
        ({"ANDROID_ADB_SERVER_ADDRESS": "lab"}, Address("lab"), "tcp:lab:5037"),
        ({"ADB_SERVER_SOCKET": "tcp:5039", "ANDROID_ADB_SERVER_PORT": "1"}, Address(port=5039), "tcp:5039"),
        ({"ADB_SERVER_SOCKET": "tcp:lab:5040"}, Address("lab", 5040), "tcp:lab:5040"),
        ({"ADB_SERVER_SOCKET": "tcp:[::1]:5041"}, Address("[::1]", 5041), "tcp:5041"),
        ({"ADB_SERVER_SOCKET": "localfilesystem:/run/adb"}, Address(path="/run/adb"), "localfilesystem:/run/adb"),
        ({"ADB_SERVER_SOCKET": "localabstract:adb"}, Address(path="\0adb"), "localabstract:adb"),
    ],
)
def test_the_server_is_where_adb_would_look(environment: dict[str, str], address: Address, spec: str) -> None:
    assert server_address(environment) == address
    assert address.spec == spec
    assert parse_spec(spec).spec == spec


@pytest.mark.parametrize(
    "environment",
    [
        {"ANDROID_ADB_SERVER_PORT": "many"},
        {"ANDROID_ADB_SERVER_PORT": "70000"},
        {"ADB_SERVER_SOCKET": "udp:1"},
        {"ADB_SERVER_SOCKET": "tcp:lab:x"},
    ],
)
def test_variables_that_adb_would_refuse(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        server_address(environment)


def test_a_server_behind_a_socket_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "adb"
    with fake_adb("A device transport_id:1", path=path):
        monkeypatch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{path}")
        server = Server(starts=False)
        server.ensure()
        assert listed(server) == [Listed("A", "device", 1)]


def test_no_server_is_started_on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loopback under a name that is not this machine's for adb.
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.2:{free_port()}")
    with pytest.raises(HarnessError, match=r"no adb server answers on port \d+ of 127\.0\.0\.2"):
        Server().ensure()


def test_the_real_server_by_adbs_own_variable(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{scene.adb.port}")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    (seen,) = attached_devices()
    assert (seen.serial, seen.usable, seen.connection) == (scene.virtual.serial, True, "network")
