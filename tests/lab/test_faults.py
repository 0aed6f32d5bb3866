"""Faults of a lab, each really made to happen: processes that are killed or stopped in the middle of an order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import harness.lab.turn
from harness.conformance.fake_runners import make_order, write_runner
from harness.devices import RunResult
from harness.protocol.schema import Sample
from tests.lab.conftest import PATIENCE, Town, await_
from tests.lab.pocket import LEASE_SECONDS, put_phone
from tests.lab.test_clients import gated

pytestmark = pytest.mark.programs

CLIENT = """
import sys
from pathlib import Path
from harness.conformance.fake_runners import make_order
from harness.core.cache import Cache
from harness.devices import opened, parse_device

address, runner, ready, folder = sys.argv[1:]
with opened(parse_device("lab:all", lab_scheduler=address), cache=Cache(Path(folder)), notify=print) as [device]:
    device.run(Path(runner), make_order(), on_record=lambda record: Path(ready).touch())
"""


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a silent agent up as soon as the agents of these tests give a client up."""
    monkeypatch.setattr(harness.lab.turn, "LEASE_SECONDS", LEASE_SECONDS)
    monkeypatch.setattr(harness.lab.turn, "GONE_SECONDS", 2.0)


class Order(threading.Thread):
    """An order of a client in this process, whose runner waits behind its first sample."""

    def __init__(self, village: Town, folder: Path, selector: str = "all") -> None:
        super().__init__(daemon=True)
        self.runner, self.gate = gated(folder)
        self.notices: list[str] = []
        self.arrived: list[object] = []
        self.result: RunResult | None = None
        self.error: BaseException | None = None
        self.phone = ""
        self._village, self._selector = village, selector
        self.start()
        await_("the first sample", lambda: any(isinstance(record, Sample) for record in self.arrived))

    def run(self) -> None:
        try:
            with self._village.open(self._selector, self.notices) as device:
                self.phone = device.card.name
                self.result = device.run(self.runner, make_order(), on_record=self.arrived.append)
        except BaseException as error:
            self.error = error

    @property
    def host(self) -> str:
        return self.phone.partition("/")[0]

    def ended(self) -> RunResult:
        self.join(PATIENCE)
        assert self.error is None, self.error
        assert self.result is not None, "the order did not end"
        return self.result


def runners(folder: Path) -> list[int]:
    """The runners below a folder that run now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command and b"--order" in command:
            found.append(int(entry.name))
    return found


def two_hosts(village: Town, **told: object) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.agent("west", "w1", **told)
    village.await_state("east/e1", "free")
    village.await_state("west/w1", "free")


def test_an_order_goes_on_on_an_equal_phone_if_its_host_dies(village: Town, tmp_path: Path) -> None:
    two_hosts(village)
    order = Order(village, tmp_path)
    village.kill(order.host)
    order.gate.touch()
    result = order.ended()
    assert result.complete, result.reason
    assert result.resumed == 1
    first, second = result.observed["lab"]
    assert (first["phone"], second["phone"]) in (("east/e1", "west/w1"), ("west/w1", "east/e1"))
    assert first["records"] + second["records"] == len(result.records) == len(order.arrived)
    samples = [(one.items, one.phase, one.repetition) for one in result.records if isinstance(one, Sample)]
    assert len(samples) == len(set(map(str, samples))) == 6
    assert any(f"continuing with {second['phone']}" in line for line in order.notices)
    # The runner of the dead host ended with it.
    await_("no runner is left", lambda: not runners(village.folder))
    village.await_state(second["phone"], "free")


def test_what_had_arrived_is_kept_where_no_equal_phone_is_left(village: Town, tmp_path: Path) -> None:
    two_hosts(village, model="Another")
    order = Order(village, tmp_path, "model='pocket 1'")
    village.kill(order.host)
    result = order.ended()
    assert not result.complete
    assert "was lost: its agent has left the lab" in str(result.reason)
    assert "no equal phone is left in the lab" in str(result.reason)
    assert len(result.records) == len(order.arrived) >= 5


def test_a_phone_is_free_again_if_its_client_is_killed(village: Town, tmp_path: Path) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    runner, _ = gated(tmp_path)
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", CLIENT, village.address, str(runner), str(ready), str(tmp_path / "cache")]
    for number in (signal.SIGKILL, signal.SIGINT):
        client = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        await_("the client's order runs", ready.exists)
        village.await_state("east/e1", "held")
        assert runners(village.folder)
        began = time.monotonic()
        client.send_signal(number)
        client.wait(PATIENCE)
        await_("no runner is left", lambda: not runners(village.folder))
        village.await_state("east/e1", "free")
        # A dead client is noticed when its lease ends: 20 s later, and here sooner.
        assert time.monotonic() - began < (10 if number is signal.SIGINT else 10 + LEASE_SECONDS)
        ready.unlink()
    with village.open("e1") as device:
        assert device.run(write_runner(tmp_path, "everything()"), make_order()).complete


def test_an_order_survives_its_scheduler(village: Town, tmp_path: Path) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    order = Order(village, tmp_path)
    village.kill("scheduler")
    village.scheduler()
    village.await_state("east/e1", "held")
    order.gate.touch()
    result = order.ended()
    assert result.complete, result.reason
    assert result.resumed == 0
    assert len({str(record) for record in result.records}) == len(result.records) == len(order.arrived)
    village.await_state("east/e1", "free")
    with village.open("e1") as device:
        assert device.run(write_runner(tmp_path, "everything()"), make_order()).complete


def test_a_client_that_waits_gets_the_phone_behind_a_new_scheduler(village: Town, tmp_path: Path) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    order = Order(village, tmp_path)
    runner, results = write_runner(tmp_path, "everything()", "second"), list[RunResult]()

    def client() -> None:
        with village.open("e1") as device:
            results.append(device.run(runner, make_order()))

    waiting = threading.Thread(target=client)
    waiting.start()
    await_("it waits", lambda: village.cards()["east/e1"].waiting == 1)
    village.kill("scheduler")
    village.scheduler()
    village.await_state("east/e1", "held")
    assert not results
    order.gate.touch()
    assert order.ended().complete
    waiting.join(PATIENCE)
    assert [result.complete for result in results] == [True]
    village.await_state("east/e1", "free")


def test_a_frozen_host_is_given_up_and_its_order_ends_when_it_comes_back(village: Town, tmp_path: Path) -> None:
    two_hosts(village)
    order = Order(village, tmp_path)
    frozen, phone = order.host, order.phone
    # Its runner goes on, as a phone does whose host is stopped.
    village.kill(frozen, signal.SIGSTOP)
    await_("the order goes on elsewhere", lambda: any("continuing with" in line for line in order.notices))
    assert len(runners(village.folder)) >= 1
    # It comes back while the order still runs elsewhere: its own must end, and nothing may arrive twice.
    village.kill(frozen, signal.SIGCONT)
    village.await_state(phone, "free")
    await_("only the second runner is left", lambda: len(runners(village.folder)) == 1)
    order.gate.touch()
    result = order.ended()
    assert result.complete, result.reason
    assert result.observed["lab"][0]["phone"] == phone
    assert len({str(record) for record in result.records if isinstance(record, Sample)}) == 6


def test_an_agent_that_is_ended_ends_its_orders(village: Town, tmp_path: Path) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    order = Order(village, tmp_path)
    village.kill("east", signal.SIGTERM)
    result = order.ended()
    assert not result.complete
    assert "its agent" in str(result.reason)
    assert village.exit_code("east") == 0
    assert not runners(village.folder)


def test_an_agent_ends_without_its_scheduler(village: Town) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    village.kill("scheduler")
    village.kill("east", signal.SIGTERM)
    assert village.exit_code("east") == 0


def test_an_agent_ends_while_a_phone_answers_nothing(village: Town) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    put_phone(village.pocket("east"), "e1", stuck=True)
    await_("the agent asks the phone", (village.pocket("east") / "stuck").exists)
    village.kill("east", signal.SIGTERM)
    assert village.exit_code("east") == 0


def test_a_quarantine_outlives_its_agent(village: Town, tmp_path: Path) -> None:
    village.scheduler()
    village.agent("east", "e1", failing=True)
    village.await_state("east/e1", "free")
    for _ in range(3):
        with village.open("e1") as device, pytest.raises(Exception, match="fell off the desk"):
            device.run(write_runner(tmp_path, "everything()"), make_order())
    village.await_state("east/e1", "quarantined")
    village.kill("east")
    village.await_gone("east/e1")
    village.agent("east")
    assert "fell off the desk" in village.await_state("east/e1", "quarantined").reason


def listening(pid: int) -> set[str]:
    """The addresses at which a process listens, as the kernel writes them."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].partition(":")[0])
    return found


def test_nothing_listens_beyond_this_machine(village: Town) -> None:
    village.scheduler()
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    loopback = "0100007F"
    assert [listening(village.processes[name].pid or 0) for name in ("scheduler", "east")] == [{loopback}, {loopback}]
