"""What others do on this machine is seen, and what we do ourselves is not taken for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.devices import bystanders
from harness.devices.bystanders import Bystanders
from harness.results.schema.pairs import BUSY, RatioSummary

BURN = "import time\nuntil = time.monotonic() + {seconds}\nwhile time.monotonic() < until: pass"


def seen_beside(seconds: float) -> RatioSummary:
    """What stands beside a ratio that is measured while this process does nothing."""
    looks = Bystanders()
    time.sleep(seconds)
    found = looks.seen()
    return RatioSummary(items=1, ratio=1, low=1, high=1, paired=True, **vars(found))


def test_a_real_load_is_reported() -> None:
    burners = [subprocess.Popen([sys.executable, "-c", BURN.format(seconds=60)]) for _ in range(2)]
    try:
        found = seen_beside(1.5)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert found.others is not None
    assert found.cores is not None
    assert found.others > BUSY * found.cores
    assert found.busy is not None
    assert f"of {found.cores} cores busy" in found.busy


def test_what_we_use_ourselves_is_not_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten seconds, in which 20 of all cores' seconds were busy, 5 of them ours and 2 PyTorch's."""
    stat = tmp_path / "stat"
    tick = 100
    monkeypatch.setattr(bystanders, "STAT", stat)
    monkeypatch.setattr("os.sysconf", lambda _name: tick)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    ours = iter([3.0, 8.0])
    monkeypatch.setattr(bystanders, "_ours_s", lambda: next(ours))
    stat.write_text("cpu  100 0 100 9000 0 0 0 50 0 0\ncpu0 1\n")
    looks = Bystanders()
    stat.write_text("cpu  1500 0 600 9000 0 100 0 450 0 0\ncpu0 1\n")
    found = looks.seen(2.0)
    assert found.others == pytest.approx((14 + 5 + 1 - 5 - 2) / 10)
    assert found.steal == pytest.approx(4 / 40)


@pytest.mark.parametrize("text", [None, "", "cpu 1 2\n", "cpu a b c d e f g h\n"])
def test_where_the_system_does_not_report_it(text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "stat").write_text(text)
    monkeypatch.setattr(bystanders, "STAT", tmp_path / "stat")
    found = Bystanders().seen()
    assert (found.others, found.steal) == (None, None)
