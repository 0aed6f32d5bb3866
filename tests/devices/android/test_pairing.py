"""Phones over Wi-Fi: found, paired and connected; the failures are those of the real adb server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.android.pairing import (
    CONNECT,
    PAIRING,
    Announced,
    PairingFailed,
    announced,
    check_address,
    connect_paired,
    pair,
    to_pair,
)
from harness.devices.android.server import Server
from harness.virtual.android import AdbServer
from harness.virtual.android.device import free_port
from harness.virtual.android.packages import provide_packages
from tests.devices.android.fake_adb import FakeAdb, fake_adb

pytestmark = pytest.mark.emulator
PHONE = "192.168.1.20:37451"
SERVICES = (
    f"adb-35121JEHN28132-jr888A\t{PAIRING}\t{PHONE}\n"
    # Android 13 and older end the name of a service with a dot.
    f"adb-35121JEHN28132-jr888A\t{CONNECT}.\t192.168.1.20:41234\n"
    f"adb-R58M-other\t{CONNECT}\t192.168.1.31:40001\n"
)


@pytest.fixture
def adb() -> Iterator[FakeAdb]:
    with fake_adb() as adb:
        adb.more["host:mdns:services"] = SERVICES.encode()
        adb.more[f"host:pair:123456:{PHONE}"] = b"Successfully paired to 192.168.1.20:37451 [guid=adb-3512]"
        adb.more["host:connect:192.168.1.20:41234"] = b"connected to 192.168.1.20:41234"
        yield adb


def test_a_phone_that_announces_itself_is_paired_and_connected(adb: FakeAdb) -> None:
    server = Server(adb.port, starts=False)
    assert announced(server)[1] == Announced("adb-35121JEHN28132-jr888A", CONNECT, "192.168.1.20:41234")
    assert to_pair(server) == PHONE
    assert pair(server, PHONE, "123456").startswith("Successfully paired")
    assert connect_paired(server, PHONE) == "192.168.1.20:41234"
    assert [asked for asked in adb.asked if "connect:" in asked] == ["host:connect:192.168.1.20:41234"]


def test_which_phone_is_meant_has_to_be_clear(adb: FakeAdb) -> None:
    server = Server(adb.port, starts=False)
    second = f"adb-other\t{PAIRING}\t192.168.1.31:40002\n"
    adb.more["host:mdns:services"] = (SERVICES + second).encode()
    with pytest.raises(UsageError, match="2 phones wait to be paired"):
        to_pair(server)
    adb.more["host:mdns:services"] = b""
    with pytest.raises(UsageError, match="no phone announces"):
        to_pair(server)
    assert connect_paired(server, PHONE, wait_seconds=0.0) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "123456:h", "12 456"])
def test_what_is_no_code_is_sent_to_no_server(adb: FakeAdb, code: str) -> None:
    with pytest.raises(UsageError, match="six digits"):
        pair(Server(adb.port, starts=False), PHONE, code)
    assert adb.asked == []


@pytest.mark.parametrize(
    "address", ["", "phone", "192.168.1.20", "192.168.1.20:", ":5555", "a b:1", "a:0", "a:65536", "a:1:x\n", "-o x:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        check_address(address)


@pytest.mark.parametrize("address", [PHONE, "phone.local:5555", "[fe80::1%wlan0]:37451"])
def test_addresses(address: str) -> None:
    assert check_address(address) == address


@pytest.fixture
def real(tmp_path: Path, user_cache: Cache) -> Iterator[AdbServer]:
    with AdbServer(tmp_path / "adb", packages=provide_packages(user_cache, print)) as server:
        yield server


def test_the_real_server_pairs_with_nothing_that_is_not_there(real: AdbServer) -> None:
    """It reports the failure behind an okay, which adb's own client of that version takes for a protocol fault."""
    server = Server(real.port, starts=False)
    with pytest.raises(PairingFailed, match="was not paired: 'Failed: Unable to start pairing client"):
        pair(server, f"127.0.0.1:{free_port()}", "123456")


def test_the_real_server_lists_nothing_where_it_may_not_listen(real: AdbServer) -> None:
    assert announced(Server(real.port, starts=False)) == []
