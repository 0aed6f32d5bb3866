"""The suites' order: a runner that does not even start should be told by the smallest test."""

from __future__ import annotations

import pytest

ORDER = {"test_smoke.py": 1, "test_parity.py": 2, "test_latency.py": 3}
GATE = "test_no_slower_than_the_baseline"


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str) -> list[pytest.Item] | None:
    """The gate is a test where there is a baseline to be judged by."""
    lacking = name == GATE and not collector.config.getoption("harness_baseline", None)
    return [] if lacking else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.get(item.path.name, 0))
