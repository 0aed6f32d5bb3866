"""``python -m harness.virtual.android``: a virtual device to look around on, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
from types import FrameType

from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError
from harness.virtual.android.fleet import virtual_androids


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.virtual.android", description=__doc__)
    parser.add_argument("--count", type=int, default=1, help="how many devices (default 1)")
    parser.add_argument("--x86-64", action="store_true", help="an x86-64 device, whose programs need no emulator")
    parser.add_argument("--data-bytes", type=int, help="how much fits into /data")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    try:
        with virtual_androids(
            options.count,
            cache=Cache(notice=_note),
            progress=_note,
            arm64=not options.x86_64,
            data_bytes=options.data_bytes,
        ) as (server, devices):
            for device in devices:
                command = [str(server.adb), "-P", str(server.port), "-s", device.serial, "shell"]
                print(device.serial)
                print(f"  {shlex.join(command)}")
                print(f"  files: {device.folder}")
                if device.launcher:
                    print(f"  arm64 programs: {shlex.join(device.launcher)} PROGRAM …")
            print("Ctrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    except KeyboardInterrupt:
        return 130
    except HarnessError as error:
        _note(str(error))
        return error.exit_code
    return ExitCode.OK


def _note(message: str) -> None:
    print(f"harness: {message}", file=sys.stderr, flush=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
