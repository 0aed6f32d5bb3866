"""Define the errors of a lab, and check that its packages are installed."""

from __future__ import annotations

import importlib.util

from harness.core.errors import HarnessError, UsageError
from harness.core.installation import PackageMissing, install_cure
from harness.core.store_errors import StoreFailed
from harness.devices import errors as device_errors
from harness.devices.errors import DeviceError

PACKAGES = ("distributed", "obstore", "deltalake")


class BadSelector(UsageError):
    """The text after ``lab:`` is not a selector."""

    cure = "write it like soc=sm8650 and os>=15, or name a phone as `harness devices --lab` does"


class LabUnreachable(HarnessError):
    """The lab's scheduler does not answer."""

    cure = "see that `harness lab scheduler` runs there, and that address and certificates are right"


class LabMisuse(UsageError):
    """An option or a file of the lab is missing or contradicts another."""


class PhoneLost(DeviceError):
    """The host of the phone, or the phone's agent, no longer answers."""

    cure = "run again: another phone is chosen while this one is gone; `harness devices --lab` shows what is there"


class PhoneRefused(DeviceError):
    """The phone's agent does not give the phone out."""

    cure = "`harness devices --lab` shows why; `harness lab release PHONE` ends a quarantine"


class TokenRefused(PhoneRefused):
    """The lab wants a token, and the client's is missing, has expired or was taken back."""

    cure = "ask who runs the lab for one (`harness lab token add NAME`), and set HARNESS_LAB_TOKEN to it"


def require_lab() -> None:
    """Raise PackageMissing if the packages of the extra ``lab`` are not installed."""
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise PackageMissing(f"a lab needs the Python package {name}", cure=install_cure("lab"))


_KNOWN: dict[str, type[HarnessError]] = {
    one.__name__: one
    for one in (*vars(device_errors).values(), StoreFailed, PhoneRefused, TokenRefused)
    if isinstance(one, type) and issubclass(one, DeviceError | StoreFailed)
}


def error_named(name: str, message: str, cure: str) -> HarnessError:
    """Return the error that an agent reported; one of an unknown class becomes a DeviceError."""
    return _KNOWN.get(name, DeviceError)(message, cure=cure or None)
