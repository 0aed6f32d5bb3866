"""What clients do with the phones of a lab: list them, share them, run orders, wait for each other and for a person."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order, write_runner
from harness.core.cache import Cache
from harness.devices import DeviceBusy, NoDevice, RunnerUnusable, RunResult, opened, parse_device
from harness.devices.host import HostDevice
from tests.cli.called import call
from tests.lab.conftest import Town, await_
from tests.lab.pocket import PocketPhone, put_phone

pytestmark = pytest.mark.programs

GATED = """
real = sample
def sample(item, phase, repetition):
    real(item, phase, repetition)
    while not os.path.exists({gate!r}):
        time.sleep(0.02)
everything()
"""
"""A runner that goes on behind its first sample only once a file is there."""


def gated(folder: Path) -> tuple[Path, Path]:
    gate = folder / "gate"
    return write_runner(folder, GATED.format(gate=str(gate)), "gated"), gate


def test_an_order_comes_back_as_from_a_device_of_this_machine(town: Town, tmp_path: Path) -> None:
    runner, order = write_runner(tmp_path, "everything()"), make_order()
    here = HostDevice(lock_folder=tmp_path).run(runner, order)
    arrived: list[str] = []
    with town.open("north/n1") as device:
        result = device.run(runner, order, on_record=lambda record: arrived.append(record.record))
        assert device.describe(runner).archive_sha256 == order.archive_sha256
        assert device.conditions() == {"battery_percent": 80}
        facts = device.facts()
    assert result.complete
    assert result.exit_status == 0
    assert [record.record for record in result.records] == [record.record for record in here.records] == arrived
    assert result.observed["lab"] == [{"phone": "north/n1", "records": len(arrived)}]
    assert facts["lab"]["host"] == "north"
    assert facts["model"] == "Pocket 1"


def test_a_runner_travels_once(town: Town, tmp_path: Path) -> None:
    runner = write_runner(tmp_path, "everything()", padding=1000)
    for selector in ("north/n1", "north/n2", "north/n1"):
        with town.open(selector) as device:
            assert device.run(runner, make_order()).complete
    sha256 = device._store.put(runner)
    assert len(list(Path(town.folder, "store").rglob(sha256))) == 1
    assert len(list(Path(town.folder, "state-north/cache/lab-runner").glob(f"{sha256}*/device_runner"))) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("header(); load(); crash('SEGV')", "SIGSEGV"),
        ("header(); line('rubbish'); stay()", "is not a record"),
        ("complain('no model'); leave(7)", "7"),
    ],
)
def test_a_runner_that_fails_is_no_failure_of_the_lab(town: Town, tmp_path: Path, body: str, reason: str) -> None:
    with town.open("north/n1") as device:
        result = device.run(write_runner(tmp_path, body), make_order())
        assert not result.complete
        assert reason in str(result.reason)
        assert device.run(write_runner(tmp_path, "everything()", "good"), make_order()).complete


def test_a_hanging_runner_ends_at_its_deadline(town: Town, tmp_path: Path) -> None:
    with town.open("north/n1") as device:
        result = device.run(write_runner(tmp_path, "header(); stay()"), make_order(), deadline=0.5)
    assert "deadline of" in str(result.reason)
    town.await_state("north/n1", "free")


def test_errors_arrive_as_themselves(town: Town, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF nothing of ours")
    with town.open("north/n1") as device:
        with pytest.raises(RunnerUnusable, match="Exec format error"):
            device.run(foreign, make_order())
        with pytest.raises(RunnerUnusable, match="cannot be read"):
            device.run(tmp_path / "absent", make_order())


def test_an_error_of_the_listener_ends_the_order(town: Town, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def refuse(_record: object) -> None:
        raise Enough

    runner, _ = gated(tmp_path)
    with town.open("north/n1") as device:
        with pytest.raises(Enough):
            device.run(runner, make_order(), on_record=refuse)
        assert device.run(write_runner(tmp_path, "everything()"), make_order()).complete


def test_the_lab_is_listed_without_a_phone_or_adb(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    listing = ("devices", "--lab", "--lab-scheduler", town.address)
    done = call(capsys, *listing, "--json")
    assert (done.code, done.err) == (0, "")
    rows = {row["device"]: row for row in json.loads(done.out)["devices"]}
    assert sorted(rows) == ["lab:north/n1", "lab:north/n2", "lab:south/s1", "lab:south/s2"]
    assert rows["lab:south/s2"]["model"] == "Pocket 2"
    assert rows["lab:south/s2"]["kind"] == "lab"
    table = call(capsys, *listing)
    assert (table.code, table.err) == (0, "")
    assert "lab:south/s1" in table.out
    # Without the switch nobody asks the lab.
    assert "lab:" not in call(capsys, "devices", "--lab-scheduler", town.address).out


def test_several_phones_are_chosen_by_their_labels(town: Town, tmp_path: Path) -> None:
    def names(which: str, **options: str) -> list[str]:
        selection = parse_device(f"lab:{which}", lab_scheduler=town.address, **options)
        with opened(selection, cache=Cache(tmp_path), notify=print) as devices:
            return sorted(device.name for device in devices)

    assert names("soc=sm8650 and os>=15 and host=south", count="2") == ["Pocket 2 (s1)", "Pocket 2 (s2)"]
    assert len(names("all", count="all")) == 4
    assert len(names("model='pocket 1'")) == 1
    with pytest.raises(NoDevice, match=r"3 wanted, and .* matches 2 of the lab's 4 phones"):
        names("host=south", count="3")
    with pytest.raises(NoDevice, match=r"1 wanted, and .* matches 0"):
        names("soc=unheard")


def test_two_clients_never_share_a_phone(town: Town, tmp_path: Path) -> None:
    runner, gate = gated(tmp_path)
    done: list[str] = []
    results: list[RunResult] = []

    def first() -> None:
        with town.open("north/n1") as device:
            results.append(device.run(runner, make_order(), on_record=lambda record: done.append("first")))
            done.append("first ended")

    one = threading.Thread(target=first)
    one.start()
    await_("the first client's order runs", lambda: len(done) > 4)
    card = town.await_state("north/n1", "held")
    assert "@" in card.holder
    notices: list[str] = []

    def second() -> None:
        with town.open("north/n1", notices) as device:
            results.append(device.run(runner, make_order(), on_record=lambda record: done.append("second")))

    two = threading.Thread(target=second)
    two.start()
    await_("the second client waits", lambda: any("north/n1 is in use by process" in line for line in notices))
    with town.open("north/n1") as device, pytest.raises(DeviceBusy), device.reserve(wait_seconds=0):
        pass
    assert "second" not in done
    gate.touch()
    one.join(60)
    two.join(60)
    assert [result.complete for result in results] == [True, True]
    assert done.index("second") > done.index("first ended") - 1


def test_a_person_with_a_cable_and_the_lab_never_share_a_phone(town: Town, tmp_path: Path) -> None:
    runner = write_runner(tmp_path, "everything()")
    phone = PocketPhone(town.pocket("north") / "n2.json")
    notices: list[str] = []
    results: list[RunResult] = []

    def client() -> None:
        with town.open("north/n2", notices) as device:
            results.append(device.run(runner, make_order()))

    waiting = threading.Thread(target=client)
    with phone.reserve(wait_seconds=60):
        assert town.await_state("north/n2", "held").holder == "a run on its own host"
        waiting.start()
        await_("the client waits", lambda: any("used on its own host" in line for line in notices))
        assert not results
    waiting.join(60)
    assert [result.complete for result in results] == [True]

    runner, gate = gated(tmp_path)
    arrived: list[object] = []

    def again() -> None:
        with town.open("north/n2") as device:
            results.append(device.run(runner, make_order(), on_record=arrived.append))

    running = threading.Thread(target=again)
    running.start()
    await_("the client's order runs", lambda: arrived)
    with pytest.raises(DeviceBusy), phone.reserve(wait_seconds=0):
        pass
    gate.touch()
    running.join(60)
    assert results[-1].complete


def test_phones_come_and_go(town: Town) -> None:
    put_phone(town.pocket("south"), "s9", model="Visitor")
    town.await_state("south/s9", "free")
    (town.pocket("south") / "s9.json").unlink()
    town.await_gone("south/s9")


def test_a_hot_phone_rests_and_a_silent_one_is_not_given_out(town: Town) -> None:
    put_phone(town.pocket("south"), "s8", model="Hot", hot=True)
    assert town.await_state("south/s8", "resting").reason == "Hot (s8) is hot"
    put_phone(town.pocket("south"), "s8", model="Hot", silent=True)
    town.await_state("south/s8", "unreachable", "quarantined")
    with (
        pytest.raises(NoDevice, match=r"0 of them usable: south/s8 \((unreachable|quarantined): .*no answer\)"),
        town.open("s8"),
    ):
        pass
    (town.pocket("south") / "s8.json").unlink()
    town.await_gone("south/s8")


def test_a_phone_that_fails_again_and_again_is_put_aside_until_it_is_released(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = write_runner(tmp_path, "everything()")
    put_phone(town.pocket("north"), "n7", model="Loose", failing=True)
    town.await_state("north/n7", "free")
    for _ in range(3):
        with town.open("n7") as device, pytest.raises(Exception, match="fell off the desk"):
            device.run(runner, make_order())
    card = town.await_state("north/n7", "quarantined")
    assert card.reason.startswith("3 failures in a row, the last one: Loose (n7) fell off the desk")
    with pytest.raises(NoDevice, match="quarantined: 3 failures in a row"), town.open("n7"):
        pass
    done = call(capsys, "devices", "--lab", "--lab-scheduler", town.address, "--json")
    [row] = [row for row in json.loads(done.out)["devices"] if row["device"] == "lab:north/n7"]
    assert (done.code, row["usable"], row["cure"]) == (0, False, "harness lab release north/n7")

    put_phone(town.pocket("north"), "n7", model="Loose")
    release = ("lab", "release", "--scheduler", town.address)
    done = call(capsys, *release, "north/n7", "--json")
    assert (done.code, json.loads(done.out)["was_quarantined"]) == (0, True)
    town.await_state("north/n7", "free")
    with town.open("n7") as device:
        assert device.run(runner, make_order()).complete
    assert call(capsys, *release, "north/n7").err.endswith("was in no quarantine\n")
    done = call(capsys, *release, "north/absent")
    assert (done.code, done.err.splitlines()[0]) == (2, "harness: the lab has no phone north/absent now")
    (town.pocket("north") / "n7.json").unlink()
    town.await_gone("north/n7")


def test_waiting_clients_are_served_by_their_priority(town: Town, tmp_path: Path) -> None:
    runner, gate = gated(tmp_path)
    served: list[str] = []

    def client(name: str, priority: str) -> None:
        with town.open("south/s2", lab_priority=priority) as device:
            device.run(runner, make_order(), on_record=lambda _record: served.append(name))

    clients = [threading.Thread(target=client, args=(f"client {number}", number)) for number in ("0", "-10", "10")]
    for at, one in enumerate(clients):
        one.start()
        await_("it has the phone, or waits for it", lambda at=at: served and town.cards()["south/s2"].waiting == at)  # type: ignore[misc]
    gate.touch()
    for one in clients:
        one.join(60)
    assert list(dict.fromkeys(served)) == ["client 0", "client 10", "client -10"]
