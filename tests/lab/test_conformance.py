"""A phone of a lab is a device: what every device has to do, through agent and scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest

from harness.conformance.faults import Ends, incomplete, raises
from harness.conformance.processes import LocalBench
from harness.conformance.running import Reading, Running
from harness.core.cache import Cache
from harness.devices import Device, RunnerUnusable, Unavailable, opened, parse_device
from tests.lab.conftest import Town

pytestmark = pytest.mark.programs


class LabBench(LocalBench):
    """Its device is a phone of the town, and its runners are processes of the phone's agent."""

    def __init__(self, folder: Path, town: Town) -> None:
        super().__init__(folder)
        self.town = town
        self.mark = town.mark
        self._contexts = ExitStack()

    def open(self, *, max_log_bytes: int | None = None) -> Device:
        del max_log_bytes  # the agent's phones have their own
        selection = parse_device("lab:north/n1", lab_scheduler=self.town.address)
        cache = Cache(self.folder / "client-cache")
        [device] = self._contexts.enter_context(opened(selection, cache=cache, notify=self.notify))
        assert not isinstance(device, Unavailable)
        return self.keep(device)

    def opening(self) -> str:
        return (
            "from pathlib import Path\n"
            "from harness.core.cache import Cache\n"
            "from harness.devices import opened, parse_device\n"
            f"selection = parse_device('lab:north/n1', lab_scheduler={self.town.address!r})\n"
            f"context = opened(selection, cache=Cache(Path({str(self.folder / 'other-cache')!r})), notify=str)\n"
            "[device] = context.__enter__()\n"
        )

    def assert_clean(self) -> None:
        self.assert_no_process()

    def close(self) -> None:
        super().close()
        self._contexts.close()


class TestLab(Running, Reading):
    ends: ClassVar[dict[str, Ends]] = {
        "test_endless_output": incomplete("bytes on stdout or stderr, killed"),
        "test_no_runner": raises(RunnerUnusable, "cannot be read: No such file"),
        "test_a_foreign_runner": raises(RunnerUnusable, "Exec format error"),
    }

    @pytest.fixture
    def bench(self, tmp_path: Path, town: Town) -> Iterator[LabBench]:
        bench = LabBench(tmp_path, town)
        yield bench
        bench.close()
