"""Define the errors of making an app for Android."""

from __future__ import annotations

from harness.core.errors import HarnessError


class AppNotBuilt(HarnessError):
    """The app around the runner could not be made."""

    cure = "read the compiler's message; `--android-mode shell` needs no app"


class BadKey(HarnessError):
    """The key that signs the app cannot be read or kept."""

    cure = "remove the file that is named: a new key is made"
