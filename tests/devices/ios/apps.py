"""Apps for iPhones in which a script runs in place of an iPhone's code, and the ways in which one can be wrong."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.conformance.behaviour import EVERYTHING, python
from harness.conformance.fake_runners import python_runner
from tests.devices.virtual_ios.app import ARM64, X86_64, TinyApp, make_executable

__all__ = ["BUNDLE_ID", "EXECUTABLE", "SIMULATOR", "X86_64", "Flaws", "write_app"]

BUNDLE_ID = "dev.harness.test"
EXECUTABLE = "TestRunner"
IOS, SIMULATOR = 2, 7

OPENING = """
documents = os.environ["HOME"] + "/Documents/"
try:
    order = json.load(open(documents + "order.json"))
    result = open(documents + "result.jsonl", "x")
except OSError as error:
    print("error:", error)
    sys.exit(2)
echo = True

def family(where="."):
    "An app starts no processes."
"""


@dataclass(frozen=True)
class Flaws:
    """What is wrong with an app; nothing unless chosen. ``profile`` False: it has none."""

    processor: int = ARM64
    platform: int = IOS
    minimum: str = "14.0"
    signed: bool = True
    bundle_id: str = BUNDLE_ID
    executable: str = EXECUTABLE
    profile: bool = True
    expired: bool = False
    profile_for: str | None = None
    profile_app: str | None = None


def write_app(
    folder: Path,
    udid: str,
    behaviour: str = EVERYTHING,
    flaws: Flaws | None = None,
    *,
    describing: str = "",
    padding: int = 0,
) -> Path:
    """Write an .ipa for the phone ``udid`` whose companion behaves so, and so when it is asked what it is.

    ``padding`` are bytes of it that do nothing.
    """
    flaws = flaws or Flaws()
    script = python_runner(
        python(behaviour),
        opening=OPENING,
        describing=python(describing) or "pass",
        interpreter=f"{sys.executable} -IS",
    )
    major, minor = (int(part) for part in flaws.minimum.split("."))
    app = TinyApp(
        (flaws.profile_for or udid,) if flaws.profile else None,
        flaws.bundle_id,
        executable=make_executable(flaws.processor, flaws.platform, (major, minor), flaws.signed),
        companion=script,
        minimum_os=flaws.minimum,
        expires=datetime(2001 if flaws.expired else 2999, 1, 1),
        extra={"padding": os.urandom(padding)} if padding else {},
        name=flaws.executable,
        profile_of=flaws.profile_app,
    )
    return app.write(folder / "app.ipa")
