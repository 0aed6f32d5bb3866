"""Run the process of virtual iPhones: ``python -m harness.virtual.ios.daemon``.

Its standard input brings one line of JSON that describes the phones, then one line for every call. The answers go to
standard output. It ends when its input does; the kernel closes the input however the other side ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from harness.virtual.ios.control import Control
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.state import State, make_identity
from harness.virtual.ios.tunneld import Tunnels
from harness.virtual.ios.usbmux import Usbmuxd


async def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # A library's output must not be taken for an answer.
    os.dup2(2, 1)
    calls = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(calls), sys.stdin)
    phones = _make_phones(json.loads(await calls.readline()))
    usbmuxd = Usbmuxd(phones[0].folder.parent / "usbmuxd", phones)
    tunnels = Tunnels(phones)
    try:
        ready = {
            "usbmux_port": await usbmuxd.start(),
            "tunneld_port": await tunnels.start(),
            "phones": [dataclasses.asdict(phone.identity) for phone in phones],
        }
        _answer(answers, ready)
        controls = [Control(phone) for phone in phones]
        while line := await calls.readline():
            _answer(answers, _call(controls, json.loads(line)))
            # A call that pulls a cable answers after the connections have ended.
            await asyncio.sleep(0)
    finally:
        usbmuxd.stop()
        tunnels.stop()
        await asyncio.gather(*(phone.stop() for phone in phones))


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a record belongs into the log: an error, but not pymobiledevice3's about a cut connection."""
    if record.levelno < logging.ERROR:
        return False
    if not record.name.startswith("pymobiledevice3"):
        return True
    error = record.exc_info[1] if record.exc_info else None
    cut = isinstance(error, OSError) or type(error).__name__ in ("DTXProtocolError", "ConnectionTerminatedError")
    return error is not None and not cut


def _make_phones(wanted: dict[str, Any]) -> list[Phone]:
    phones = []
    for number, each in enumerate(wanted["phones"], 1):
        state = State()
        state.change(each["state"])
        identity = make_identity(each["ios_version"], **each["identity"])
        phones.append(Phone(Path(wanted["folder"]) / f"phone-{number}", identity, state))
    return phones


def _call(controls: list[Control], wanted: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": controls[wanted["phone"]].call(wanted["call"], wanted["arguments"])}
    except (ValueError, KeyError, TypeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _answer(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    log = logging.StreamHandler()
    log.addFilter(_is_news)
    logging.basicConfig(handlers=[log])
    # Ctrl-C is for the harness, which then ends its phones in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asyncio.run(main())
    except BrokenPipeError:
        sys.exit(0)
