"""``python -m harness.virtual.ios``: virtual iPhones to look around on, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from types import FrameType

from harness.core.errors import ExitCode, HarnessError
from harness.virtual.ios.iphone import VirtualIphone, virtual_iphones


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.virtual.ios", description=__doc__)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="16, 17 or 26, one a phone (default 16)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    try:
        versions = enumerate(options.versions or ["16"], 1)
        wanted = [VirtualIphone(ios_version, name=f"Virtual iPhone {number}") for number, ios_version in versions]
    except ValueError as error:
        parser.error(str(error))
    try:
        with virtual_iphones(*wanted) as phones:
            for phone in phones:
                print(f"{phone.udid}  {phone.product_type}, iOS {phone.os_version}")
                if phone.tunneld is not None:
                    print(f"  tunneld: {phone.tunneld[0]}:{phone.tunneld[1]}")
            print(f"  export USBMUXD_SOCKET_ADDRESS={phones[0].usbmux_address}")
            print("Ctrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    except KeyboardInterrupt:
        return 130
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return ExitCode.OK


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
