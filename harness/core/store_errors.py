"""Define the errors of a store of files; they need none of the packages that a store needs."""

from __future__ import annotations

import importlib.util

from harness.core.errors import HarnessError, UsageError
from harness.core.installation import PackageMissing, install_cure


class StoreFailed(HarnessError):
    """A store of files did not take or give a file."""

    cure = "see that the store can be reached, that it has room, and that its credentials are right"


class StoreDamaged(StoreFailed):
    """A store answers, and lacks a file that it should have, or has another in its place."""


class StoreMisuse(UsageError):
    """The address of a store or what belongs to it is wrong."""


def require_store() -> None:
    """Raise PackageMissing if the package that reaches stores is not installed."""
    if importlib.util.find_spec("obstore") is None:
        raise PackageMissing("a store of files needs the Python package obstore", cure=install_cure("lab"))
