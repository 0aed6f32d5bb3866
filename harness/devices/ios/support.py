"""Whether the optional package that speaks to iPhones is installed. Nothing else may import it before this is asked."""

from __future__ import annotations

import importlib.util

from harness.devices.ios.errors import IosSupportMissing

PACKAGE = "pymobiledevice3"


def has_support() -> bool:
    """Whether iPhones can be spoken to; does not import the package, which takes a second."""
    return importlib.util.find_spec(PACKAGE) is not None


def require_support() -> None:
    """Raises IosSupportMissing."""
    if not has_support():
        raise IosSupportMissing(f"the package {PACKAGE}, which speaks to iPhones, is not installed")
