"""Two hosts in network namespaces of their own, and a cable between them that is cut.

It runs as the root of a user namespace without any other network (:mod:`tests.lab.test_partition` starts it so), and
prints what happened as one JSON object. Host ``near`` has the scheduler, the client and an agent; host ``far`` has an
agent alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness.lab.turn
from harness.conformance.fake_runners import make_order, write_runner
from harness.core.cache import Cache
from harness.devices import opened, parse_device
from harness.lab.client import Lab, Silence
from harness.lab.device import LabDevice
from harness.protocol.schema import Sample
from tests.lab.pocket import FOLDER, LEASE_SECONDS, PocketPhone, put_phone

NEAR, FAR, PORT = "10.77.0.1", "10.77.0.2", 8786
PATIENCE = 60.0
STARTS = """
with open({starts!r}, "a") as log:
    log.write(os.environ.get("WHERE", "?") + "\\n")
real = sample
def sample(item, phase, repetition):
    real(item, phase, repetition)
    while not os.path.exists({gate!r}):
        time.sleep(0.02)
everything()
"""
"""A runner that notes where it starts, and goes on behind its first sample only once a file is there."""


def run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=PATIENCE)


def wait(what: str, look: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > until:
            raise SystemExit(f"still not: {what}")
        time.sleep(0.05)


class Net:
    """The namespace of host ``far``, whose one end of the cable it has."""

    def __init__(self) -> None:
        # It sleeps there for as long as this process lives.
        self.keeper = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        mine = Path("/proc/self/ns/net").readlink()
        wait("the other namespace", lambda: Path(f"/proc/{self.keeper.pid}/ns/net").readlink() != mine)
        ip = ("ip", "link")
        run(*ip, "set", "lo", "up")
        run(*ip, "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self.keeper.pid))
        run("ip", "address", "add", f"{NEAR}/24", "dev", "near")
        run(*ip, "set", "near", "up")
        for words in (
            ("link", "set", "lo", "up"), ("address", "add", f"{FAR}/24", "dev", "far"), ("link", "set", "far", "up"),
        ):  # fmt: skip
            run(*self.there, "ip", *words)

    @property
    def there(self) -> tuple[str, ...]:
        """What begins a command on host ``far``."""
        return ("nsenter", f"--net=/proc/{self.keeper.pid}/ns/net")

    def cable(self, state: str) -> None:
        """Cut or mend it: ``down`` or ``up``."""
        run("ip", "link", "set", "near", state)


BEGIN = """
import sys
import tests.lab.preload
import tests.lab.pocket as pocket
pocket.begin(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], None, {}, sys.argv[5:])
"""


class Village:
    """The processes of both hosts."""

    def __init__(self, folder: Path, net: Net) -> None:
        self.folder, self.net = folder, net
        self.processes: list[subprocess.Popen[bytes]] = []

    def begin(self, host: str, job: str, *words: str) -> None:
        there = self.net.there if host == "far" else ()
        command = [*there, sys.executable, "-c", BEGIN, job, str(self.folder / f"{host}-{job}.log")]
        environment = {**os.environ, "WHERE": host}
        self.processes.append(
            subprocess.Popen([*command, str(self.pocket(host)), "partition", *words], env=environment)
        )

    def pocket(self, host: str) -> Path:
        return self.folder / f"pocket-{host}"

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def village(folder: Path) -> Iterator[tuple[Village, Lab]]:
    net = Net()
    built = Village(folder, net)
    for host in ("near", "far"):
        put_phone(built.pocket(host), host[0])
    address = f"tcp://{NEAR}:{PORT}"
    lab: Lab | None = None
    try:
        built.begin("near", "scheduler", str(PORT), NEAR)
        wait("the scheduler", lambda: "listens at" in read(folder / "near-scheduler.log"))
        for host, listen in (("near", NEAR), ("far", FAR)):
            built.begin(
                host, "agent", address, f"file://{folder}/store", host, str(folder / f"state-{host}"), "0", listen
            )
        lab = Lab(address, None)
        wait("both phones", lambda: {"near/n", "far/f"} <= set(cards(lab)))
        yield built, lab
    finally:
        if lab is not None:
            lab.close()
        built.end()
        net.keeper.kill()
        net.keeper.wait()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def cards(lab: Lab | None) -> dict[str, Any]:
    try:
        return dict(lab.census().phones) if lab is not None else {}
    except Silence:
        return {}


def runners(folder: Path) -> list[str]:
    """Where the runners are that run now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            where = [one for one in (entry / "environ").read_bytes().split(b"\0") if one.startswith(b"WHERE=")]
        except OSError:
            continue
        if str(folder).encode() in command and b"--order" in command:
            found.append(where[0][6:].decode() if where else "?")
    return sorted(found)


def main(folder: Path) -> None:
    """Cut the cable while an order runs on host ``far``, use its phone there meanwhile, and mend the cable."""
    for name, seconds in (("LEASE_SECONDS", LEASE_SECONDS), ("GONE_SECONDS", 2.0)):
        setattr(harness.lab.turn, name, seconds)
    starts, gate = folder / "starts", folder / "gate"
    runner = write_runner(folder, STARTS.format(starts=str(starts), gate=str(gate)), "gated")
    notices: list[str] = []
    arrived: list[object] = []
    found: dict[str, Any] = {}

    with village(folder) as (hosts, lab):

        def client() -> None:
            selection = parse_device("lab:far", lab_scheduler=f"tcp://{NEAR}:{PORT}")
            with opened(selection, cache=Cache(folder / "client"), notify=notices.append) as [device]:
                assert isinstance(device, LabDevice)
                result = device.run(runner, make_order(), on_record=arrived.append)
                found["complete"], found["reason"], found["resumed"] = result.complete, result.reason, result.resumed
                found["phones"] = [share["phone"] for share in result.observed["lab"]]
                samples = [str((one.items, one.phase, one.repetition)) for one in arrived if isinstance(one, Sample)]
                found["samples"], found["different"] = len(samples), len(set(samples))

        thread = threading.Thread(target=client, daemon=True)
        thread.start()
        wait("the first sample", lambda: any(isinstance(one, Sample) for one in arrived))
        found["before"] = runners(folder)
        hosts.net.cable("down")
        wait("the order goes on elsewhere", lambda: any("continuing with near/n" in line for line in notices))
        wait("it runs there", lambda: "near" in runners(folder))
        # Host far ends its own order by itself, and somebody there takes the phone.
        os.environ[FOLDER] = str(hosts.pocket("far"))
        mine = PocketPhone(hosts.pocket("far") / "f.json")
        with mine.reserve(wait_seconds=PATIENCE):
            found["when the person has it"] = runners(folder)
            hosts.net.cable("up")
            wait("the host is back", lambda: "far/f" in cards(lab))
            wait("its card shows the person", lambda: cards(lab)["far/f"].state == "held")
            found["holder"] = cards(lab)["far/f"].holder
            # An order for this very phone waits for the person.
            late = threading.Thread(target=wait_for_far, args=(folder, found), daemon=True)
            late.start()
            wait("somebody waits for it", lambda: "waiting" in found)
            time.sleep(1.5)
            found["while the person has it"] = runners(folder)
            found["late then"] = found.get("late")
            gate.touch()
            thread.join(PATIENCE)
        late.join(PATIENCE)
        wait("the phone is free", lambda: cards(lab)["far/f"].state == "free")
        found["starts"] = read(starts).split()
    print(json.dumps(found))


def wait_for_far(folder: Path, found: dict[str, Any]) -> None:
    """Run an order on the phone of host far, whoever has it now."""
    selection = parse_device("lab:far", lab_scheduler=f"tcp://{NEAR}:{PORT}")

    def note(line: str) -> None:
        if "is used on its own host" in line:
            found["waiting"] = line

    with opened(selection, cache=Cache(folder / "late"), notify=note) as [device]:
        assert isinstance(device, LabDevice)
        found["late"] = device.run(write_runner(folder, "everything()", "late"), make_order()).complete


if __name__ == "__main__":
    main(Path(sys.argv[1]))
