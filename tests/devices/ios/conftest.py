"""A virtual iPhone for each test, as the iOS backend sees it, and a look at what was left on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.conformance.behaviour import EVERYTHING
from harness.conformance.bench import Cable, Charged
from harness.devices.ios.apps import uninstall
from harness.devices.ios.device import IosDevice
from harness.devices.ios.job import AppJob
from harness.devices.ios.loop import LoopThread, loop_thread
from harness.devices.ios.options import IosOptions, Way
from harness.devices.ios.phone import Phone
from harness.protocol.schema import WorkOrder
from harness.virtual.ios import State, VirtualIphone
from harness.virtual.ios.kind import way_to
from tests.devices.ios.apps import BUNDLE_ID, Flaws, write_app

QUICK = IosOptions(
    trust_seconds=10.0,
    grace_seconds=2.0,
    settle_poll_seconds=0.1,
    poll_seconds=0.05,
    exit_seconds=0.5,
    crash_seconds=3.0,
)


class Scene(Cable, Charged):
    """One virtual iPhone and what is opened on it."""

    left_words = "could not be removed"
    options = QUICK

    def __init__(self, virtual: VirtualIphone, loop: LoopThread, folder: Path, pairings: Path) -> None:
        super().__init__(folder)
        self.virtual = virtual
        self.loop = loop
        self.pairings = pairings
        self.before = len(virtual.events())

    @property
    def way(self) -> Way:
        return way_to(self.virtual, self.pairings)

    @property
    def events(self) -> list[str]:
        """What the phone was made to do."""
        return self.virtual.events()[self.before :]

    def open(
        self, options: IosOptions | None = None, *, max_log_bytes: int | None = None, way: Way | None = None
    ) -> IosDevice:
        options = options or self.options
        if max_log_bytes is not None:
            options = replace(options, max_log_bytes=max_log_bytes)
        device = IosDevice(
            self.loop,
            self.virtual.udid,
            way or self.way,
            emulated=True,
            options=options,
            lock_folder=self.locks,
            notify=self.notify,
        )
        return self.keep(device)

    def opening(self) -> str:
        way = self.way
        return (
            "import pathlib\n"
            "from harness.devices.ios.device import IosDevice\n"
            "from harness.devices.ios.loop import LoopThread\n"
            "from harness.devices.ios.options import Way\n"
            "from tests.devices.ios.conftest import QUICK\n"
            f"way = Way({way.usbmux_address!r}, ('tunneld',), {way.tunneld!r}, pathlib.Path({str(way.records)!r}))\n"
            f"device = IosDevice(LoopThread(), {self.virtual.udid!r}, way, options=QUICK,\n"
            f"    lock_folder=pathlib.Path({str(self.locks)!r}))\n"
        )

    def runner(
        self, behaviour: str = EVERYTHING, order: WorkOrder | None = None, *, describing: str = "", padding: int = 0
    ) -> Path:
        return self.app(behaviour, describing=describing, padding=padding)

    def app(
        self, behaviour: str = EVERYTHING, flaws: Flaws | None = None, *, describing: str = "", padding: int = 0
    ) -> Path:
        return write_app(self.folder, self.virtual.udid, behaviour, flaws, describing=describing, padding=padding)

    def foreign(self) -> Path:
        path = self.folder / "runner"
        path.write_bytes(b"\x7fELF")
        return path

    def unplug(self) -> None:
        self.virtual.unplug()

    def plug(self) -> None:
        self.virtual.plug()

    def lose_power(self, left: int | None) -> None:
        self.virtual.unplug()
        self.virtual.jetsam(BUNDLE_ID)
        result = self.virtual.container(BUNDLE_ID) / "Documents/result.jsonl"
        if left is None:
            result.unlink()
        else:
            result.write_bytes(result.read_bytes()[:left])

    def left(self) -> list[str]:
        return [*self.virtual.apps(), *map(str, self.staged())]

    def at_pull(self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
        events, real = [do], AppJob._pull

        def pull(job: AppJob) -> bytes:
            if events:
                events.pop()()
            return real(job)

        monkeypatch.setattr(AppJob, "_pull", pull)

    def set_battery(self, *, percent: int | None = None, celsius: float | None = None) -> None:
        state = {
            "battery_level": percent,
            "battery_temperature": None if celsius is None else round(celsius * 100),
        }
        self.virtual.set(**{name: value for name, value in state.items() if value is not None})

    def runs(self) -> bool:
        return bool(self.virtual.processes()) and self.virtual.assertions() != []

    def kill_runner(self) -> None:
        self.virtual.jetsam(BUNDLE_ID)

    def look_at_what_was_left(self) -> None:
        assert len(self.virtual.processes()) == 1
        until = time.monotonic() + 20
        while self.virtual.assertions() and time.monotonic() < until:
            time.sleep(0.05)
        assert self.virtual.assertions() == []  # it went with its connection

    def documents(self) -> list[str]:
        """What lies in the app's folder of documents."""
        return sorted(path.name for path in (self.virtual.container(BUNDLE_ID) / "Documents").iterdir())

    def assert_clean(self) -> None:
        if BUNDLE_ID in self.virtual.apps():
            assert self.documents() == []
        self.close_devices()
        until = time.monotonic() + 20
        while (self.virtual.processes() or self.virtual.assertions()) and time.monotonic() < until:
            time.sleep(0.05)
        assert self.virtual.processes() == []
        assert self.virtual.assertions() == []
        assert self.virtual.apps() == {}
        assert self.staged() == []

    def remove(self, bundle_id: str) -> None:
        """Remove an app as its owner does, by hand."""
        phone = Phone(self.loop, self.virtual.udid, self.way, trust_seconds=1.0, notify=print)
        phone.do(lambda link: uninstall(link, bundle_id), deadline=10, what="removing")
        phone.close()

    def staged(self) -> list[Path]:
        """Files in the folder where packages are laid."""
        media = self.virtual.log.parent / "phone-1" / "media"
        return [path for path in media.rglob("*") if path.is_file()]


class Shelf:
    """Phones that tests use one after another, one of each iOS: starting and pairing takes longer than most tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._phones: dict[str, VirtualIphone] = {}

    def take(self, ios_version: str) -> VirtualIphone:
        """A phone as it was when it was new, but for the computers that it trusts."""
        if ios_version not in self._phones:
            phone = VirtualIphone(ios_version)  # type: ignore[arg-type]
            self._phones[ios_version] = self._stack.enter_context(phone)
        phone = self._phones[ios_version]
        phone.clear_faults()
        phone.plug()
        fresh = {one.name: one.default for one in fields(State)}
        phone.set(**fresh)
        assert (phone.apps(), phone.processes(), phone.assertions()) == ({}, [], []), "another test left something"
        for report in phone.crash_reports():
            report.unlink()
        return phone

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("pairings"))
    yield shelf
    shelf.close()


@contextlib.contextmanager
def scene_of(virtual: VirtualIphone, folder: Path, pairings: Path) -> Iterator[Scene]:
    """A phone on which nothing is left afterwards, whatever the test did."""
    with loop_thread() as loop:
        scene = Scene(virtual, loop, folder, pairings)
        try:
            yield scene
        finally:
            virtual.clear_faults()
            virtual.plug()
            virtual.set(locked=False)
            scene.close()


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path, shelf: Shelf) -> Iterator[Scene]:
    """Of iOS 16, or of the version of iOS that ``@pytest.mark.parametrize("scene", ["17"], indirect=True)`` names."""
    with scene_of(shelf.take(getattr(request, "param", "16")), tmp_path, shelf.folder) as scene:
        yield scene


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Scene]:
    """A phone that trusts nobody yet."""
    with VirtualIphone("16") as virtual, scene_of(virtual, tmp_path, tmp_path / "pairings") as scene:
        yield scene


def with_launcher(name: Any) -> IosOptions:
    return replace(QUICK, launcher=name)
