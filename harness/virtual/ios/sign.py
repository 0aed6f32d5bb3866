"""``python -m harness.virtual.ios.sign --udid UDID BUNDLE``: what makes a virtual iPhone accept an app.

A sign command (``--ios-sign-command``) that needs no certificate: it gives the bundle a provisioning profile that lists
the phone, and leaves the signature of the executable as the linker made it. No real iPhone accepts the result.
"""

from __future__ import annotations

import argparse
import plistlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

TEAM = "VIRTUAL000"
VALID = timedelta(days=7)


def write_profile(bundle: Path, udids: list[str], *, expires: datetime | None = None) -> None:
    """Put an ``embedded.mobileprovision`` for the bundle's own identifier into it; raises OSError."""
    bundle_id = plistlib.loads((bundle / "Info.plist").read_bytes())["CFBundleIdentifier"]
    profile = {
        "Name": "Virtual iPhones",
        "TeamIdentifier": [TEAM],
        "ExpirationDate": expires or (datetime.now(timezone.utc) + VALID).replace(tzinfo=None),
        "ProvisionedDevices": udids,
        "Entitlements": {"application-identifier": f"{TEAM}.{bundle_id}", "get-task-allow": True},
    }
    (bundle / "embedded.mobileprovision").write_bytes(plistlib.dumps(profile))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harness.virtual.ios.sign", description=__doc__)
    parser.add_argument("--udid", action="append", required=True, help="a phone that the profile lists")
    parser.add_argument("bundle", type=Path, help="the .app folder")
    options = parser.parse_args()
    write_profile(options.bundle, options.udid)


if __name__ == "__main__":
    main()
