"""Use iPhones through pymobiledevice3. The package is optional, so only code that needs a phone imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.devices.ios.checks import ios_checks
from harness.devices.ios.options import IosOptions, Way
from harness.devices.ios.support import has_support, require_support

if TYPE_CHECKING:
    from harness.devices.ios.attached import AttachedPhone, attached_iphones
    from harness.devices.ios.device import IosDevice

__all__ = [
    "AttachedPhone",
    "IosDevice",
    "IosOptions",
    "Way",
    "attached_iphones",
    "has_support",
    "ios_checks",
    "require_support",
]


def __getattr__(name: str) -> Any:
    """Return a name that needs the package; raises IosSupportMissing without it."""
    if name in ("AttachedPhone", "attached_iphones"):
        require_support()
        from harness.devices.ios import attached

        return getattr(attached, name)
    if name == "IosDevice":
        require_support()
        from harness.devices.ios.device import IosDevice

        return IosDevice
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
