"""Check iPhones for ``harness doctor``."""

from __future__ import annotations

import importlib.metadata

from harness.core.errors import HarnessError
from harness.devices.ios.errors import TUNNELD_COMMAND, IosSupportMissing
from harness.devices.ios.support import PACKAGE, has_support
from harness.devices.kinds import Check


def ios_checks() -> list[Check]:
    """Check the optional package, usbmuxd, tunneld, and each phone. Pairs with none."""
    if not has_support():
        # The package is optional: without an iPhone nothing is missing.
        return [
            Check("iPhones", True, f"{PACKAGE} is not installed; only --device ios needs it", IosSupportMissing.cure)
        ]
    from harness.devices.ios.attached import attached_iphones
    from harness.devices.ios.tunnel import tunneld_runs

    checks = [Check(PACKAGE, True, importlib.metadata.version(PACKAGE), "")]
    try:
        phones = attached_iphones()
    except HarnessError as error:
        return [*checks, Check("usbmuxd", True, f"{error.args[0]}; only --device ios needs it", error.cure)]
    checks.append(Check("usbmuxd", True, f"{len(phones)} iPhones", ""))
    needs_tunneld = [
        phone for phone in phones if (phone.ios_version or "").startswith(("17.0", "17.1", "17.2", "17.3"))
    ]
    if needs_tunneld or len(phones) > 1:
        runs = tunneld_runs()
        state = "runs" if runs else "does not run: needed for iOS 17.0 to 17.3, and for a second iPhone at once"
        checks.append(Check("tunneld", runs, state, f"run `{TUNNELD_COMMAND}` in another terminal"))
    for phone in phones:
        found = phone.reason or f"{phone.model}, iOS {phone.ios_version}, {phone.state}, {phone.connection}"
        checks.append(Check(f"iPhone {phone.serial}", phone.usable, found, phone.cure))
    return checks
