"""The benchmark of the lab runs its orders on its fake phones, all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import lab

pytestmark = pytest.mark.programs


def test_every_order_ran_on_a_phone(tmp_path: Path) -> None:
    figures = lab.measure(tmp_path, 2, 4, 8, 0.05)
    assert (figures.phones, figures.orders, figures.failed) == (4, 8, 0)
    assert figures.wall >= figures.ideal == 0.1
    assert figures.scheduler_megabytes > 10
