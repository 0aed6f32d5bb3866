"""Define the options of measuring on an Android device; the defaults are for a phone on a desk."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.devices.android.knobs import ALL_KNOBS
from harness.devices.android.mode import Mode
from harness.devices.android.running import Watch


@dataclass(frozen=True)
class AndroidOptions:
    """Hold the options.

    ``grace_seconds`` is how long a lost device may take to come back. ``settle_poll_seconds`` is the time between looks
    at a device that is too hot or too empty.
    """

    mode: Mode = "shell"
    base: str = "/data/local/tmp"
    """The folder of work folders and runners; the shell user can write and execute there."""
    grace_seconds: float = 60.0
    settle_poll_seconds: float = 5.0
    knobs: tuple[str, ...] = ALL_KNOBS
    app_patience_seconds: int = 15
    """The seconds after which an app ends its run if no shell follows it any more."""
    watch: Watch = field(default_factory=Watch)
