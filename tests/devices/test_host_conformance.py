"""What every device has to do, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from harness.conformance.faults import Ends, raises
from harness.conformance.host import HostBench
from harness.conformance.running import Reading, Running
from harness.devices.errors import RunnerUnusable

pytestmark = pytest.mark.programs


class TestHost(Running, Reading):
    ends: ClassVar[dict[str, Ends]] = {
        "test_no_runner": raises(RunnerUnusable, "No such file"),
        "test_a_foreign_runner": raises(RunnerUnusable, "Exec format error"),
    }

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[HostBench]:
        bench = HostBench(tmp_path)
        yield bench
        bench.close()
