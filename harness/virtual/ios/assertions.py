"""Serve assertion_agent: clients keep the phone awake as long as their connection lasts, or their time."""

from __future__ import annotations

import asyncio

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    """Hold the assertions of one connection."""
    held: list[str] = []
    loop = asyncio.get_running_loop()

    def release(name: str) -> None:
        if name in held:
            held.remove(name)
            phone.assertions.remove(name)

    try:
        while True:
            request = await connection.read_plist()
            name = f"{request.get('AssertionTypeKey')} {request.get('AssertionNameKey')}"
            try:
                await phone.faults.at("assertion", connection)
            except Refused as refused:
                await connection.send_plist({"Error": refused.error or "NotPermitted"})
                continue
            if request.get("CommandKey") != "CommandCreateAssertion":
                await connection.send_plist({"Error": "UnknownCommand"})
                continue
            held.append(name)
            phone.assertions.append(name)
            loop.call_later(float(request.get("AssertionTimeoutKey") or 0), release, name)
            await connection.send_plist({"Status": "Success"})
    finally:
        for name in held.copy():
            release(name)
