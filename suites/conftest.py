"""The suites' order: a runner that does not even start should be told by the smallest test."""

from __future__ import annotations

import pytest

ORDER = {"test_smoke.py": 1, "test_parity.py": 2, "test_latency.py": 3}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.get(item.path.name, 0))
