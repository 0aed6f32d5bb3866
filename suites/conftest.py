"""The suites' order, and which of them a run needs: a runner that does not even start should be told by the smallest
test, and what a run has no model for, or was not asked for, is not collected."""

from __future__ import annotations

from pathlib import Path

import pytest

ORDER = {
    "test_smoke.py": 1,
    "test_parity.py": 2,
    "test_latency.py": 3,
    "test_models.py": 4,
    "test_pairs.py": 5,
    "test_gate.py": 6,
    "test_profile.py": 7,
}
OF_WORDS = ("test_smoke.py", "test_parity.py", "test_latency.py")
ON_REQUEST = {"test_gate.py": "harness_baseline", "test_profile.py": "harness_profile"}
"""The option that asks for it."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    option = ON_REQUEST.get(collection_path.name)
    if option is not None and not config.getoption(option, None):
        return True
    if collection_path.name == "test_pairs.py" and not in_turns(config):
        return True
    models = config.getoption("harness_models", [])
    if collection_path.name == "test_models.py" and not [name for name in models if name != "g2p"]:
        return True
    return True if collection_path.name in OF_WORDS and models and "g2p" not in models else None


def in_turns(config: pytest.Config) -> bool:
    """Whether the model is timed beside PyTorch, which runs on this machine, beside what runs here only."""
    here = config.getoption("harness_device", None) in (None, "host")
    return here and config.getoption("harness_pair_seconds", 1.0) > 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.get(item.path.name, 0))
