"""A virtual iPhone for each test, as the iOS backend sees it, and a look at what was left on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.devices.base import AnyRecord, RunResult
from harness.devices.ios.apps import uninstall
from harness.devices.ios.device import IosDevice
from harness.devices.ios.loop import LoopThread, loop_thread
from harness.devices.ios.options import IosOptions, Way
from harness.devices.ios.phone import Phone
from harness.protocol.schema import WorkOrder
from harness.virtual.ios import State, VirtualIphone
from harness.virtual.ios.kind import way_to
from tests.devices.arrivals import wait_for_timers
from tests.devices.ios.apps import BUNDLE_ID, Flaws, write_app

QUICK = IosOptions(
    trust_seconds=10.0,
    grace_seconds=2.0,
    settle_poll_seconds=0.1,
    poll_seconds=0.05,
    exit_seconds=0.5,
    crash_seconds=3.0,
)


@dataclass
class Scene:
    """One virtual iPhone and what is opened on it."""

    virtual: VirtualIphone
    loop: LoopThread
    folder: Path
    pairings: Path
    before: int
    """How many events the phone had seen before."""
    said: list[str] = field(default_factory=list)
    seen: list[AnyRecord] = field(default_factory=list)
    opened: list[IosDevice] = field(default_factory=list)

    @property
    def way(self) -> Way:
        return way_to(self.virtual, self.pairings)

    @property
    def events(self) -> list[str]:
        """What the phone was made to do."""
        return self.virtual.events()[self.before :]

    def open(self, options: IosOptions = QUICK, *, way: Way | None = None) -> IosDevice:
        device = IosDevice(
            self.loop,
            self.virtual.udid,
            way or self.way,
            emulated=True,
            options=options,
            lock_folder=self.folder / "locks",
            notify=self.said.append,
        )
        self.opened.append(device)
        return device

    def app(self, body: str = "everything()", flaws: Flaws | None = None, *, describing: str = "pass") -> Path:
        return write_app(self.folder, self.virtual.udid, body, flaws, describing=describing)

    def run(
        self,
        order: WorkOrder,
        body: str = "everything()",
        *,
        device: IosDevice | None = None,
        then: Callable[[AnyRecord], None] | None = None,
        **options: Any,
    ) -> RunResult:
        """Run an app; ``then`` is called with every record as it arrives."""

        def take(record: AnyRecord) -> None:
            self.seen.append(record)
            if then is not None:
                then(record)

        app = self.app(body)
        return (device or self.open()).run(app, order, on_record=take, **options)

    def documents(self) -> list[str]:
        """What lies in the app's folder of documents."""
        return sorted(path.name for path in (self.virtual.container(BUNDLE_ID) / "Documents").iterdir())

    def close(self) -> None:
        for device in self.opened:
            device.close()

    def assert_clean(self) -> None:
        """Nothing is left once the devices are closed: no process, no app, no assertion, nothing half pushed."""
        if BUNDLE_ID in self.virtual.apps():
            assert self.documents() == []
        self.close()
        until = time.monotonic() + 3
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
        scene = Scene(virtual, loop, folder, pairings, len(virtual.events()))
        try:
            yield scene
        finally:
            virtual.clear_faults()
            virtual.plug()
            virtual.set(locked=False)
            scene.close()
            wait_for_timers()


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
