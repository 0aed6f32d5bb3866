"""The environment of a person's shell, for the processes that tests start."""

from __future__ import annotations

import os


def persons_environment() -> dict[str, str]:
    """Without what CI and pytest add: pytest-benchmark, for one, is silent below pytest-xdist."""
    added = ("CI", "BUILD_NUMBER")
    return {name: value for name, value in os.environ.items() if name not in added and not name.startswith("PYTEST_")}
