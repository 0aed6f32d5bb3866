"""Declare hooks that a project may implement to change what the suites run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.run.builder import Builder


@pytest.hookspec(firstresult=True)
def pytest_harness_builder(config: pytest.Config, notice: Callable[[str], None]) -> Builder | None:
    """Return what makes checkpoints, archives, runners and references; by default the compiler, cargo and PyTorch."""
