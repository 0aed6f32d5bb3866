"""Several adb servers at once: their phones are one list, and each phone has one name and one lock."""

from __future__ import annotations

import pytest

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices import AmbiguousDevice, NoDevice, Unavailable
from harness.devices.android import AndroidDevice, Server, adb_checks, attached_devices
from harness.devices.android.address import SERVERS, Address, server_addresses
from harness.devices.android.choice import choose
from harness.devices.android.errors import AdbUnavailable
from harness.devices.android.listing import Listed, identity
from harness.devices.selection import opened, parse_device
from harness.virtual.android import virtual_androids
from harness.virtual.android.device import free_port
from tests.devices.android.fake_adb import fake_adb


@pytest.fixture(autouse=True)
def no_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANDROID_SERIAL", SERVERS):
        monkeypatch.delenv(name, raising=False)


def labels(spec: str, *ports: int) -> list[str]:
    servers = [Server(port, starts=False) for port in ports]
    found = choose(parse_device(spec), servers, print, wait_seconds=0.3)
    return [one.name if isinstance(one, Unavailable) else one[1].label for one in found]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("chosen", "variable", "addresses"),
    [
        (None, None, [Address(port=5040)]),
        (None, " , ", [Address(port=5040)]),
        (None, "lab:5038", [Address("lab", 5038)]),
        ("5041, lab,rack:7", "never:1", [Address(port=5041), Address("lab"), Address("rack", 7)]),
        ("localhost:5041,127.0.0.1:5041,5041", None, [Address(port=5041)]),
        ("[fe80::1]:5042,tcp:rack:7", None, [Address("[fe80::1]", 5042), Address("rack", 7)]),
        ("localabstract:adb,localfilesystem:/run/adb", None, [Address(path="\0adb"), Address(path="/run/adb")]),
    ],
)
def test_a_list_of_servers(chosen: str | None, variable: str | None, addresses: list[Address]) -> None:
    environment = {"ANDROID_ADB_SERVER_PORT": "5040"} | ({SERVERS: variable} if variable is not None else {})
    assert [one.name for one in server_addresses((chosen,) if chosen else (), environment)] == [
        one.name for one in addresses
    ]


@pytest.mark.pure
@pytest.mark.parametrize(("chosen", "name"), [("lab:many", "--adb-server"), (None, SERVERS), ("localabstract:", "--a")])
def test_a_list_that_is_none_is_refused_by_its_name(chosen: str | None, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        server_addresses((chosen,) if chosen else (), {SERVERS: "lab:70000"})


@pytest.mark.pure
def test_one_serial_at_two_servers_is_two_names() -> None:
    shared = "emulator-5554 device model:Pixel transport_id:1"
    with fake_adb(shared, "A device transport_id:2") as one, fake_adb(shared, "B offline") as other:
        here, there = (f"localhost:{server.port}" for server in (one, other))
        ports = (one.port, other.port)
        with pytest.raises(AmbiguousDevice, match="2 devices are called emulator-5554") as info:
            labels("android:emulator-5554", *ports)
        assert info.value.cure == f"name one of emulator-5554@{here}, emulator-5554@{there}"
        with pytest.raises(AmbiguousDevice, match=rf"3 devices are attached: emulator-5554@{here} \(Pixel\), A@{here}"):
            labels("android", *ports)
        assert labels(f"android:emulator-5554@{there}", *ports) == [f"emulator-5554@{there}"]
        # Any way to write the server, and any name that adb takes.
        assert labels(f"android:model:Pixel@127.0.0.1:{other.port}", *ports) == [f"emulator-5554@{there}"]
        assert labels(f"android:transport_id:1@{one.port}", *ports) == [f"emulator-5554@{here}"]
        assert labels("android:A", *ports) == [f"A@{here}"], "a name that one phone has needs no server"
        assert labels("android:all", *ports) == [f"emulator-5554@{here}", f"A@{here}", f"emulator-5554@{there}"]
        assert labels(f"android:A,A@{there}", *ports) == [f"A@{here}", f"A@{there}"], "the second is not there"
        with pytest.raises(NoDevice, match=r"no adb server lab:5037 is used \(used: localhost"):
            labels("android:A@lab:5037", *ports)
        # With one server nothing has another name than adb's.
        assert labels("android:A", one.port) == labels(f"android:A@{here}", one.port) == ["A"]


@pytest.mark.pure
def test_a_server_that_is_not_there_does_not_keep_the_others_away(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loopback under a name that is not this machine's for adb, so that none is started there.
    gone = f"127.0.0.2:{free_port()}"
    with fake_adb("A offline transport_id:1") as one:
        monkeypatch.setenv(SERVERS, f"{one.port},{gone}")
        seen = attached_devices()
        assert [(found.serial, found.state) for found in seen] == [
            (f"A@localhost:{one.port}", "offline"),
            (f"@{gone}", "no server"),
        ]
        assert not any(found.usable for found in seen)
        assert "no adb server answers" in seen[1].reason
        checks = {check.name: check.ok for check in adb_checks(*(Server(address=at) for at in server_addresses()))}
        assert checks[f"adb server localhost:{one.port}"]
        assert not checks[f"adb server {gone}"]
        assert not checks[f"Android A@localhost:{one.port}"]
    with (
        pytest.raises(AdbUnavailable),
        opened(parse_device("android", adb_server=gone), cache=Cache(), notify=print),
    ):
        pass


@pytest.mark.pure
def test_a_phone_has_one_lock_and_another_machines_has_another() -> None:
    phone = Listed("emulator-5554", "device", 1, at="lab:5037")
    lab, here = Address("lab"), Address(port=5038)
    assert identity("R58M", phone, [phone], lab) == identity("R58M", phone, [phone], here) == "R58M"
    assert identity(None, phone, [phone], here) == "emulator-5554"
    assert identity(None, phone, [phone], lab) == "emulator-5554 of lab"
    wireless = Listed("192.168.1.9:5555", "device", 1)
    assert identity(None, wireless, [wireless], lab) == "192.168.1.9:5555", "both reach the same phone"


@pytest.mark.emulator
def test_phones_of_two_real_servers(user_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []
    with (
        virtual_androids(1, cache=user_cache, progress=print) as (one, [first]),
        virtual_androids(1, cache=user_cache, progress=print) as (other, [second]),
    ):
        first.set_property("ro.serialno", "R58M1")
        second.set_property("ro.serialno", "R58M2")
        servers = f"{one.port},{other.port}"
        here, there = (f"localhost:{server.port}" for server in (one, other))
        monkeypatch.setenv(SERVERS, servers)
        names = [f"{first.serial}@{here}", f"{second.serial}@{there}"]
        assert [(seen.serial, seen.usable) for seen in attached_devices()] == [(name, True) for name in names]
        # The first phone is at both servers now: it is measured once, and locked by both of its names.
        Server(other.port).connect(first.serial)
        with opened(parse_device("android:all", adb_server=servers), cache=user_cache, notify=notices.append) as found:
            phones = [phone for phone in found if isinstance(phone, AndroidDevice)]
            assert sorted(phone.serial for phone in phones) == sorted(names)
            assert [line for line in notices if line.endswith(f"is the same phone as {names[0]}")]
            held = next(phone for phone in phones if phone.serial == names[0])
            with held.reserve():
                busy = {seen.serial for seen in attached_devices() if seen.held_by}
            assert busy == {names[0], f"{first.serial}@{there}"}
        chosen = parse_device(f"android:{first.serial}@{there}", adb_server=servers)
        with opened(chosen, cache=user_cache, notify=print) as (phone,):
            assert isinstance(phone, AndroidDevice)
            assert (phone.serial, phone.hardware) == (f"{first.serial}@{there}", "R58M1")
            assert phone.facts()["serial"] == phone.serial
        checks = {check.name: check.ok for check in adb_checks(Server(one.port), Server(other.port))}
        assert checks[f"settings of {names[0]}"]
        assert checks[f"settings of {first.serial}@{there}"]
