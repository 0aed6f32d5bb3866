"""The parts of a lab by themselves: store, leases, quarantine, labels, choice of phones, addresses and certificates."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from harness.core.errors import HarnessError
from harness.core.store import FileStore, check_store_url
from harness.core.store_errors import StoreFailed, StoreMisuse
from harness.devices import DeviceLost, NoDevice
from harness.devices.base import silent
from harness.lab import errors, tasks, turn
from harness.lab.client import Lab, Silence
from harness.lab.errors import LabMisuse, LabUnreachable, PhoneLost, PhoneRefused, error_named
from harness.lab.labels import labels_of, labels_of_conditions
from harness.lab.lease import Ended, Lease
from harness.lab.phone_choice import choose, choose_equal
from harness.lab.quarantine import Quarantine
from harness.lab.security import Certificates, check_address, check_listening
from harness.lab.selector import parse_selector
from harness.lab.wire import PROTOCOL, Card, Polled, card_of
from tests.lab.conftest import await_


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


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(clock: Clock, stopped: list[str] | None = None) -> Lease:
    said: list[str] = [] if stopped is None else stopped
    return Lease("1", "somebody", wait_seconds=10, stop=lambda: said.append("stop"), seconds=20, clock=clock)


def polled(one: Lease, known: str = "held", after: int = 0) -> Polled:
    return asyncio.run(one.poll(known, after, 0.0))


def test_a_client_that_was_silent_for_too_long_does_not_get_its_lease_back() -> None:
    """As where the agent was stopped, and a question that was under way arrives before anybody has looked."""
    for comes_back in (polled, lambda one: one.call(1, "run", {})):
        clock, stopped = Clock(), list[str]()
        one = lease(clock, stopped)
        clock.now += 21
        comes_back(one)
        assert one.state == "ended"
        assert "not heard of for 20 s" in one.reason


def test_a_lease_ends_when_its_client_is_silent() -> None:
    clock = Clock()
    one = lease(clock)
    clock.now += 19
    assert polled(one, "waiting").state == "waiting"
    clock.now += 19
    assert not one.ended
    clock.now += 2
    assert one.ended
    assert polled(one).reason == "its client was not heard of for 20 s"


class SilentLab:
    """A lab whose phone gives itself to a client, and answers no more until its host is back."""

    def __init__(self) -> None:
        self.frozen, self.looks = threading.Event(), 0

    def hold(self, *_of_lease: object) -> tuple[str, None]:
        return "a scheduler", None

    def scheduler(self, _phone: str) -> str:
        return "a scheduler"

    def ask(self, _phone: str, task: Callable[..., Any], *_arguments: object, **_more: object) -> str:
        self.looks += task is tasks.look
        if self.frozen.is_set():
            raise Silence("no answer")
        return Polled(state="held").model_dump_json()


def test_nobody_stays_for_the_lease_of_a_phone_that_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agent may come back, and would hold the phone for a client that has another one."""
    for name in ("STAY_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(turn, name, 0.01)
    monkeypatch.setattr(turn, "LEASE_SECONDS", 0.1)
    lab = SilentLab()
    one = turn.Turn(cast(Lab, lab), "desk/a1", silent, threading.Event())
    one.begin(1.0, 0)
    await_("the client shows that it is there", lambda: lab.looks > 2)
    lab.frozen.set()
    with pytest.raises(PhoneLost):
        one.call("run", {}, lambda _event: None)
    lab.frozen.clear()
    await_("nobody stays", lambda: not any(thread.name == "lease of desk/a1" for thread in threading.enumerate()))
    before = lab.looks
    time.sleep(0.1)
    assert lab.looks == before


def served(one: Lease, methods: dict[str, Any]) -> list[HarnessError]:
    failures: list[HarnessError] = []
    one.serve(methods, failures.append)
    return failures


def test_a_call_that_is_repeated_runs_once_and_its_events_come_in_order() -> None:
    one, ran = lease(Clock()), list[int]()

    def count(arguments: dict[str, Any]) -> str:
        ran.append(arguments["x"])
        one.notice("counting")
        one.record("{}")
        return "counted"

    def enough(_arguments: dict[str, Any]) -> None:
        one.end("enough")

    for number in (1, 1, 2, 1):
        one.call(number, "count" if number == 1 else "enough", {"x": 7})
    assert served(one, {"count": count, "enough": enough}) == []
    assert ran == [7]
    first = polled(one)
    assert [(event.number, event.what, event.call) for event in first.events] == [
        (1, "notice", 1), (2, "record", 1), (3, "done", 1), (4, "done", 2),
    ]  # fmt: skip
    assert [event.number for event in polled(one, after=2).events] == [3, 4]
    assert polled(one, after=4).events == []
    assert polled(one).state == "ended"


def test_errors_of_a_call_are_reported_and_the_lease_goes_on() -> None:
    one = lease(Clock())

    def lose(_arguments: dict[str, Any]) -> None:
        raise DeviceLost("gone", cure="plug it in")

    def stumble(_arguments: dict[str, Any]) -> None:
        raise ZeroDivisionError("of ours")

    for number, method in enumerate(("lose", "stumble", "end"), start=1):
        one.call(number, method, {})
    failures = served(one, {"lose": lose, "stumble": stumble, "end": lambda _arguments: one.end("done")})
    assert [type(error) for error in failures] == [DeviceLost]
    lost, stumbled, _ = polled(one).events
    assert (lost.error, lost.text, lost.cure) == ("DeviceLost", "gone", "plug it in")
    assert stumbled.text == "the agent failed: ZeroDivisionError: of ours"


def test_ending_a_lease_stops_its_order_and_takes_no_more_records() -> None:
    stopped: list[str] = []
    one = lease(Clock(), stopped)

    def run(_arguments: dict[str, Any]) -> None:
        one.end("its client closed it")
        with pytest.raises(Ended):
            one.record("{}")

    one.call(1, "run", {})
    served(one, {"run": run})
    assert stopped == ["stop"]
    one.end("again")
    assert stopped == ["stop"]
    assert polled(one).reason == "its client closed it"


def test_a_large_answer_comes_in_batches() -> None:
    one = lease(Clock())
    for _ in range(6):
        one.record("x" * 2**20)
    sizes, after = [], 0
    while events := polled(one, after=after).events:
        sizes.append(len(events))
        after = events[-1].number
    assert sizes == [4, 2]


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
    assert card_of({"harness": {"name": "a/1"}}) is None
    assert card_of({"harness": card("a/1").model_dump(mode="json")}) == card("a/1")


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
