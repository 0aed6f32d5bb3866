"""The suites' order: a runner that does not even start should be told by the smallest test."""

from __future__ import annotations

import pytest

ORDER = {"test_smoke.py": 1, "test_parity.py": 2, "test_latency.py": 3, "test_profile.py": 4}
ON_REQUEST = "test_profile.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.get(item.path.name, 0))
    if not config.getoption("harness_profile"):
        left_out = [item for item in items if item.path.name == ON_REQUEST]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
