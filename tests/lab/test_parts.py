"""The parts of a lab by themselves: store, leases, quarantine, labels, choice of phones, addresses and certificates."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.store import FileStore, check_store_url
from harness.core.store_errors import StoreFailed, StoreMisuse
from harness.devices import DeviceLost, NoDevice
from harness.lab import errors
from harness.lab.errors import LabMisuse, LabUnreachable, PhoneRefused, error_named
from harness.lab.labels import labels_of, labels_of_conditions
from harness.lab.phone_choice import choose, choose_equal
from harness.lab.quarantine import Quarantine
from harness.lab.security import Certificates, check_address, check_listening
from harness.lab.selector import parse_selector
from harness.lab.wire import PROTOCOL, Card, card_of


def sha256_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(f"file://{tmp_path}/store")


def test_a_file_is_kept_once_by_its_hash(store: FileStore, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_bytes(b"the same")
    assert store.put(one) == store.put(two) == sha256_of(b"the same")
    FileStore(store.url).fetch(sha256_of(b"the same"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"the same"
    assert len([path for path in (tmp_path / "store").rglob("*") if path.is_file()]) == 1


def test_eight_writers_of_one_file_leave_it_whole(store: FileStore, tmp_path: Path) -> None:
    path = tmp_path / "runner"
    path.write_bytes(b"x" * 2_000_000)
    writers = [threading.Thread(target=lambda: FileStore(store.url).put(path)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    store.fetch(sha256_of(path.read_bytes()), tmp_path / "back")
    assert (tmp_path / "back").stat().st_size == 2_000_000


def test_a_file_that_is_not_what_its_name_promises_is_not_used(store: FileStore, tmp_path: Path) -> None:
    path = tmp_path / "runner"
    path.write_bytes(b"honest")
    sha256 = store.put(path)
    (tmp_path / "store/files" / sha256[:2] / sha256).write_bytes(b"forged")
    with pytest.raises(StoreFailed, match="other contents than its name promises"):
        FileStore(store.url).fetch(sha256, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", ""])
def test_a_file_that_is_not_there_is_an_error(store: FileStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreFailed, match=r"has no file|is no hash"):
        store.fetch(name, tmp_path / "back")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lab",
        "/shared/lab",
        "http://host/lab",
        "file://host/lab",
        "file:lab",
        "s3://key:secret@bucket",
        "s3://b?x=1",
    ],
)
def test_what_is_no_store(url: str) -> None:
    with pytest.raises(StoreMisuse) as caught:
        check_store_url(url)
    assert "secret" not in str(caught.value)


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "runner").write_text("x")
    with pytest.raises(StoreFailed):
        FileStore(f"file://{tmp_path}/file/store").put(tmp_path / "runner")


def test_a_quarantine_begins_behind_failures_in_a_row_and_is_written(tmp_path: Path) -> None:
    book = Quarantine(tmp_path / "state/quarantine.json", 3)
    for _ in range(2):
        assert not book.failed("desk/a", "lost")
    book.succeeded("desk/a")
    assert [book.failed("desk/a", "lost") for _ in range(4)] == [False, False, True, False]
    found = Quarantine(tmp_path / "state/quarantine.json").of("desk/a")
    assert found is not None
    assert found.reason == "3 failures in a row, the last one: lost"
    assert book.of("desk/b") is None
    assert (book.release("desk/a"), book.release("desk/a")) == (True, False)
    assert Quarantine(tmp_path / "state/quarantine.json").of("desk/a") is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": {"reason": 1}}'])
def test_a_damaged_book_of_quarantines_is_begun_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "quarantine.json"
    path.write_text(text)
    assert Quarantine(path).of("a") is None


def test_labels_of_a_phone() -> None:
    facts = {
        "kind": "android", "model": "Pixel 8", "manufacturer": "Google", "soc": "QTI SM8650", "android_version": "15",
        "memory_bytes": 12 * 2**30, "abis": ["arm64-v8a"], "android_mode": "app", "cores": None, "emulated": True,
    }  # fmt: skip
    labels = labels_of("desk/R1", "desk", "R1", "android-arm64", facts)
    assert parse_selector("soc=sm8650 and os>=15 and ram_gb>=12 and abi=arm64-v8a and emulated=yes").matches(labels)
    assert parse_selector("mode=app and maker=google and model='pixel 8'").matches(labels)
    assert "cpu" not in labels
    assert labels_of("a/b", "a", "b", "t", {"os": "Debian 12", "model": "\x1b[2J"})["model"] == "\\x1b[2J"
    assert labels_of("a/b", "a", "b", "t", {"os": "Debian 12"})["os"] == "12"
    assert labels_of_conditions({"battery_percent": 80, "storage_free_bytes": 2**31}) == {
        "battery": 80,
        "storage_gb": 2.0,
    }
    worn = {"battery_health": "good\x1b", "battery_health_percent": 93, "battery_cycles": 120}
    assert labels_of_conditions(worn) == worn | {"battery_health": r"good\x1b"}
    found = labels_of("a/b", "a", "b", "t", {"cpu_features": ["asimddp", "i8mm"]})
    assert parse_selector("features=i8mm and features=ASIMDDP").matches(found)
    assert not parse_selector("features=sve").matches(found)


def card(name: str, state: str = "free", **changes: Any) -> Card:
    fields = {
        "protocol": PROTOCOL, "harness": "1", "name": name, "host": name.partition("/")[0], "serial": name[-1],
        "device": name, "kind": "android", "target": "t", "store": "file:///s",
        "labels": {"name": name, "model": "m"}, "facts": {}, "state": state,
    }  # fmt: skip
    return Card.model_validate({**fields, **changes})


def test_free_phones_are_chosen_first() -> None:
    cards = [card("a/1", "held"), card("a/2", "resting"), card("a/3"), card("a/4", "held", waiting=2)]
    assert [one.name for one in choose(cards, parse_selector("all"), None)] == ["a/3", "a/2", "a/1", "a/4"]
    assert [one.name for one in choose(cards, parse_selector("all"), 1)] == ["a/3"]


def test_why_no_phone_is_chosen() -> None:
    cards = [card("a/1", "quarantined", reason="3 failures"), card("a/2", protocol=99), card("a/3")]
    with pytest.raises(NoDevice, match=r"a/1 \(quarantined: 3 failures\); a/2 \(its agent has harness 1, which speaks"):
        choose(cards, parse_selector("all"), 2)


def test_only_an_equal_phone_of_nobody_goes_on() -> None:
    lost = card("a/1")
    other = card("b/1", labels={"name": "b/1", "model": "another"})
    assert choose_equal([lost, other], lost, set()) is None
    assert choose_equal([lost, card("b/2"), card("b/3", "quarantined")], lost, {"b/2"}) is None
    found = choose_equal([lost, other, card("b/2")], lost, set())
    assert found is not None
    assert found.name == "b/2"


def test_a_card_that_is_none_is_passed_over() -> None:
    assert card_of({}) is None
    assert card_of({"harness": '{"name": "a/1"}'}) is None
    assert card_of({"harness": card("a/1").model_dump_json()}) == card("a/1")


def test_an_agents_error_is_read_as_its_class_or_as_a_device_error() -> None:
    assert type(error_named("DeviceLost", "gone", "")) is DeviceLost
    assert type(error_named("PhoneRefused", "no", "why")) is PhoneRefused
    found = error_named("SystemExit", "odd", "")
    assert isinstance(found, HarnessError)
    assert found.exit_code == 3


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8786", "http://a:1", "tcp://a", "tcp://:8786", "tcp://a:no", "tls://a:1"]
)
def test_what_is_no_address_of_a_scheduler(address: str) -> None:
    with pytest.raises(LabMisuse):
        check_address(address, None)


def test_certificates_come_all_or_not_at_all(tmp_path: Path) -> None:
    files = {part: tmp_path / part for part in ("ca", "cert", "key")}
    for path in files.values():
        path.touch()
    ca, cert, key = map(str, files.values())
    assert Certificates.of(None, None, None, {}) is None
    found = Certificates.of(ca, cert, None, {"HARNESS_LAB_TLS_KEY": key})
    assert found == Certificates(**files)
    assert check_address("tls://a:1", found) == "tls://a:1"
    with pytest.raises(LabMisuse, match="do not fit"):
        check_address("tcp://a:1", found)
    with pytest.raises(LabMisuse, match="the key is not named"):
        Certificates.of(ca, cert, None, {})
    with pytest.raises(LabMisuse, match="is no file"):
        Certificates.of(ca, cert, str(tmp_path / "absent"), {})


def test_nobody_listens_to_others_without_tls(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        check_listening(host, None, insecure=False)
    for host in ("0.0.0.0", "192.0.2.7", "::", "lab.example", ""):
        with pytest.raises(LabMisuse, match="without TLS"):
            check_listening(host, None, insecure=False)
    check_listening("0.0.0.0", None, insecure=True)
    check_listening("0.0.0.0", Certificates(tmp_path, tmp_path, tmp_path), insecure=False)


def test_without_its_packages_a_lab_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "PACKAGES", ("no_such_package",))
    with pytest.raises(HarnessError, match="a lab needs the Python package no_such_package") as caught:
        errors.require_lab()
    assert "make setup" in caught.value.cure


def test_nobody_answers() -> None:
    from harness.lab import client

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "CONNECT_SECONDS", 0.3)
        patch.setattr(client, "ASK_SECONDS", 0.3)
        with pytest.raises(LabUnreachable, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
            client.Lab("tcp://127.0.0.1:9", None)


def test_without_its_packages_everything_else_works(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('dask', 'distributed', 'obstore'): sys.modules[name] = None\n"
        "from harness.cli.app import load_commands\n"
        "from harness.devices import device_kinds\n"
        "load_commands()\n"
        "assert device_kinds()['lab'].list_attached({}) == []\n"
        "from harness.cli import main\n"
        "main(['devices', '--lab', '--lab-scheduler', 'tcp://127.0.0.1:1'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3
    assert "a lab needs the Python package distributed" in done.stderr
