"""Offer the phones of one host to a lab: find them, open them, and keep one Dask worker for each.

All of a host's phones are served by one process: a worker each would take 60 MB, and adb and usbmuxd are asked once.
A phone that goes is taken back, one that comes is offered, and a scheduler that goes is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from distributed import Worker
from distributed.core import Status

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.core.store import FileStore
from harness.devices.base import Notify, Unavailable
from harness.devices.kinds import device_kinds, known_kind
from harness.devices.selection import opened, parse_device
from harness.lab import tasks
from harness.lab.building import Builder
from harness.lab.errors import TokenRefused
from harness.lab.phone import Phone
from harness.lab.quarantine import MOST_FAILURES, Quarantine
from harness.lab.runners import Runners
from harness.lab.security import Certificates, security
from harness.lab.tokens import Admission
from harness.lab.wire import ASK, BUILDER, CARD, LEASE_SECONDS, TOKEN

LOOK_SECONDS = 5.0
HEALTH_SECONDS = 30.0
TICK_SECONDS = 0.5
AGAIN_SECONDS = 1.0
END_SECONDS = 20.0
"""How long an agent that ends waits for its phones' orders to end."""
CLOSE_SECONDS = 3.0
"""How long a worker may take to take its leave."""
ALL = "all"
_SERVING = (Status.init, Status.starting, Status.running, Status.paused)
_UNNAMED = re.compile(r"[^A-Za-z0-9._:@-]+")


@dataclass(frozen=True)
class AgentOptions:
    """Define what an agent offers, and where. ``devices`` are values of ``--device``; none means all attached ones."""

    scheduler: str
    store: str
    host: str
    state: Path
    devices: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    listen: str = "127.0.0.1"
    certificates: Certificates | None = None
    look_seconds: float = LOOK_SECONDS
    health_seconds: float = HEALTH_SECONDS
    most_failures: int = MOST_FAILURES
    lease_seconds: float = LEASE_SECONDS
    phones: bool = True
    """False for a host that only compiles."""
    compile: int = 0
    """So many orders to compile are taken at a time."""


class _LabWorker(Worker):
    """Be a worker of Dask that checks clients' tokens."""

    def __init__(self, *arguments: Any, admission: Admission, **settings: Any) -> None:
        self.admission = admission
        super().__init__(*arguments, **settings)

    async def admitted(self, token: str) -> str:
        """Return whose token it is; raises TokenRefused, and what asking the scheduler raises."""
        return await self.admission.client(token, self._ask_scheduler)

    def admitted_now(self, token: str) -> str:
        """Return the same, for a task's thread."""
        return self.admission.client_now(token, self._ask_scheduler, self.loop.asyncio_loop)  # type: ignore[attr-defined]

    async def _ask_scheduler(self, token: str) -> str:
        return str(await getattr(self.scheduler, TOKEN)(token=token))


class PhoneWorker(_LabWorker):
    """Run a phone's tasks, which find the phone in :attr:`phone`, and answer questions about it."""

    def __init__(self, *arguments: Any, phone: Phone, **settings: Any) -> None:
        self.phone = phone
        super().__init__(*arguments, **settings)
        self.handlers[ASK] = self._answer

    async def _answer(self, what: str, token: str, words: list[Any]) -> dict[str, Any]:
        """Answer one question; what is refused is an answer, too."""
        try:
            client = "" if what in tasks.OF_HOLDERS else await self.admitted(token)
        except TokenRefused as error:
            return {"refused": str(error.args[0])}
        return {"answer": await tasks.QUESTIONS[what](self.phone, client, *words)}


class BuildWorker(_LabWorker):
    """Run tasks that compile; they find the compiler in :attr:`builder`."""

    def __init__(self, *arguments: Any, builder: Builder, **settings: Any) -> None:
        self.builder = builder
        super().__init__(*arguments, **settings)


class _Source:
    """Hold what one value of ``--device`` opened."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.phones: list[Phone] = []
        self.open = contextlib.ExitStack()

    @property
    def busy(self) -> bool:
        return any(phone.busy for phone in self.phones)

    @property
    def broken(self) -> bool:
        return any(phone.broken for phone in self.phones)


class Agent:
    """Offer phones until it is stopped. ``notify`` gets what the host's owner should see."""

    def __init__(self, options: AgentOptions, notify: Notify, cache: Cache | None = None) -> None:
        self._options = options
        self._notify = notify
        self._cache = cache or Cache(notice=notify)
        self._store = FileStore(options.store)
        self._runners = Runners(options.host, self._store, self._cache)
        self._admission = Admission()
        self._quarantine = Quarantine(options.state / "quarantine.json", options.most_failures)
        self._builders = [
            Builder(options.host, number, store=self._store, cache=self._cache, notify=notify)
            for number in range(1, options.compile + 1)
        ]
        self._sources: dict[str, _Source] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._reported: dict[str, str] = {}
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Offer phones until SIGTERM, SIGINT or :meth:`stop`; then end their orders and close them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        jobs = [
            asyncio.create_task(self._forever(self._look, self._options.look_seconds)),
            asyncio.create_task(self._forever(self._tick, TICK_SECONDS)),
            asyncio.create_task(self._forever(self._check, max(TICK_SECONDS, self._options.health_seconds / 10))),
        ]
        await self._stop.wait()
        self._notify("ending the orders of this host's phones")
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._close_all()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stop.set()

    @property
    def phones(self) -> list[Phone]:
        """Return the phones that are offered now."""
        return [phone for source in self._sources.values() for phone in source.phones]

    async def _forever(self, job: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await job()
            except Exception as error:  # whatever happens to one phone, the others stay in the lab
                self._report("agent", f"the agent failed: {type(error).__name__}: {error}")
            await asyncio.sleep(seconds)

    async def _tick(self) -> None:
        for phone in self.phones:
            phone.tick()

    async def _check(self) -> None:
        every = self._options.health_seconds
        await asyncio.gather(*(asyncio.to_thread(phone.check, every) for phone in self.phones))

    async def _look(self) -> None:
        """Take back phones that went, open those that came, and see that each has a worker."""
        wanted = await asyncio.to_thread(self._wanted)
        for spec, source in list(self._sources.items()):
            if not source.busy and (source.broken or spec not in wanted):
                await self._drop(source)
        for spec in wanted:
            if spec in self._sources:
                continue
            made = await asyncio.to_thread(self._opened, spec)
            if made is not None:
                self._sources[spec] = made
                for phone in made.phones:
                    self._notify(f"{phone.name} is offered: {phone.device.name}")
        for phone in self.phones:
            worker = self._workers.get(phone.name)
            if worker is None or worker.done():
                self._workers[phone.name] = asyncio.create_task(self._serve(self._phone_worker(phone)))
        for builder in self._builders:
            worker = self._workers.get(builder.name)
            if worker is None or worker.done():
                self._workers[builder.name] = asyncio.create_task(self._serve(self._build_worker(builder)))

    def _wanted(self) -> list[str]:
        """Return the values of ``--device`` that can be opened now, one for each attached phone."""
        if not self._options.phones:
            return []
        given = self._options.devices or tuple(
            f"{kind.name}:{ALL}" for kind in device_kinds().values() if kind.attaches
        )
        found: list[str] = []
        for spec in given:
            kind, which = known_kind(spec.partition(":")[0]), spec.partition(":")[2]
            if not kind.attaches or which not in ("", ALL):
                found.append(spec)
                continue
            try:
                rows = kind.list_attached(kind.chosen(self._options.given))
            except HarnessError as error:
                self._report(kind.name, str(error.args[0]))
                # Whoever lists them may be gone for a moment, and the phones are still there.
                found += [one for one in self._sources if one.startswith(f"{kind.name}:")]
                continue
            self._reported.pop(kind.name, None)
            found += [row.device for row in rows if row.usable and not row.emulated]
        return list(dict.fromkeys(found))

    def _opened(self, spec: str) -> _Source | None:
        """Open what a value of ``--device`` names, None if it cannot be opened now."""
        source = _Source(spec)
        kind = known_kind(spec.partition(":")[0])
        keys = {option.key for option in kind.options}
        try:
            chosen = {key: value for key, value in self._options.given.items() if key in keys}
            devices = source.open.enter_context(
                opened(parse_device(spec, **chosen), cache=self._cache, notify=self._notify)
            )
            usable = [device for device in devices if not isinstance(device, Unavailable)]
            for device in usable:
                source.phones.append(
                    Phone(
                        self._options.host,
                        _serial(spec, device.facts(), device.name, alone=len(usable) == 1),
                        device,
                        store=self._store,
                        runners=self._runners,
                        quarantine=self._quarantine,
                        lease_seconds=self._options.lease_seconds,
                        notify=self._notify,
                    )
                )
        except HarnessError as error:
            source.open.close()
            self._report(spec, str(error.args[0]))
            return None
        self._reported.pop(spec, None)
        return source

    def _phone_worker(self, phone: Phone) -> Worker:
        metrics = {CARD: lambda one: one.phone.card()}
        return PhoneWorker(phone=phone, name=phone.name, resources={"phone": 1}, metrics=metrics, **self._settings())

    def _build_worker(self, builder: Builder) -> Worker:
        metrics = {BUILDER: lambda one: one.builder.card()}
        resources = {"compile": 1}
        return BuildWorker(builder=builder, name=builder.name, resources=resources, metrics=metrics, **self._settings())

    def _settings(self) -> dict[str, Any]:
        """Return the settings that all workers of this host have."""
        options = self._options
        return {
            "scheduler_ip": options.scheduler,
            "nthreads": 1,
            "host": options.listen,
            "protocol": "tls" if options.certificates else "tcp",
            "security": security(options.certificates),
            "memory_limit": 0,
            "dashboard_address": "127.0.0.1:0",
            "local_directory": str(options.state / "dask"),
            "death_timeout": 30,
            "admission": self._admission,
        }

    async def _serve(self, worker: Worker) -> None:
        """Keep a worker until its scheduler is gone."""
        options = self._options
        try:
            await worker
            self._reported.pop("scheduler", None)
            # Closing waits for the task that still runs, and its lease continues: the next worker need not wait.
            while worker.status in _SERVING:
                await asyncio.sleep(TICK_SECONDS)
        except (OSError, TimeoutError, RuntimeError, asyncio.TimeoutError) as error:
            self._report("scheduler", f"the scheduler {options.scheduler} does not answer: {error}")
        finally:
            if worker.status not in (Status.closed, Status.closing, Status.failed):
                # A task may still run, and its lease continues without this worker. Closing may wait for a scheduler.
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(worker.close(executor_wait=False, reason="agent"), CLOSE_SECONDS)

    async def _drop(self, source: _Source) -> None:
        """Take phones out of the lab."""
        for phone in source.phones:
            self._notify(f"{phone.name} is no longer offered")
            if (worker := self._workers.pop(phone.name, None)) is not None:
                worker.cancel()
                await asyncio.wait({worker}, timeout=CLOSE_SECONDS * 2)
        del self._sources[source.spec]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(source.open.close), END_SECONDS)

    async def _close_all(self) -> None:
        for phone in self.phones:
            phone.end("its agent was ended")
        for _ in range(int(END_SECONDS / 0.1)):
            if not any(source.busy for source in self._sources.values()):
                break
            await asyncio.sleep(0.1)
        for source in list(self._sources.values()):
            await self._drop(source)
        left = [worker for builder in self._builders if (worker := self._workers.pop(builder.name, None)) is not None]
        for worker in left:
            worker.cancel()
        if left:
            await asyncio.wait(left, timeout=CLOSE_SECONDS * 2)

    def _report(self, about: str, text: str) -> None:
        """Report trouble once, until it changes."""
        if self._reported.get(about) != text:
            self._reported[about] = text
            self._notify(text)


def run_agent(options: AgentOptions, notify: Notify, cache: Cache | None = None) -> NoReturn:
    """Offer phones until the process receives a signal to end, and end it."""

    async def run() -> None:
        await Agent(options, notify, cache).run()
        sys.stderr.flush()
        # Here, since leaving the loop waits for every thread, and one may wait for a phone that answers nothing.
        os._exit(0)

    asyncio.run(run())
    raise AssertionError("the process has ended")


def _serial(spec: str, facts: Mapping[str, Any], name: str, *, alone: bool) -> str:
    """Return a phone's name on its host: its serial, else what ``--device`` calls it."""
    serial = facts.get("serial")
    kind, _, which = spec.partition(":")
    text = str(serial) if serial else (which or kind) if alone else name
    return _UNNAMED.sub("-", text).strip("-")[:80] or kind
