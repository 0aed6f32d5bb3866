"""Check whether the optional package for iPhones is installed. Nothing else may import the package before that."""

from __future__ import annotations

import importlib.util

from harness.devices.ios.errors import IosSupportMissing

PACKAGE = "pymobiledevice3"


def has_support() -> bool:
    """Return whether the package is installed, without importing it, which takes a second."""
    return importlib.util.find_spec(PACKAGE) is not None


def require_support() -> None:
    """Raise IosSupportMissing if the package is not installed."""
    if not has_support():
        raise IosSupportMissing(f"the package {PACKAGE}, which talks to iPhones, is not installed")
