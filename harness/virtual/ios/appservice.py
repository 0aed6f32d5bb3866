"""Serve CoreDevice's appservice: list, launch and signal apps through a tunnel."""

from __future__ import annotations

import signal
from typing import Any

from pymobiledevice3.remote.xpc_message import XpcInt64Type

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.processes import LaunchRefused, Running
from harness.virtual.ios.remotexpc import Message, RemoteXpc
from harness.virtual.ios.stdio import Sockets
from harness.virtual.ios.stream import Connection, mapping

FEATURES = ("launchapplication", "listapps", "listprocesses", "sendsignaltoprocess", "uninstallapp")
STREAMS = {"streamapplist": "listapps", "streamprocesslist": "listprocesses"}
"""What iOS 26 sends piece by piece, and what it is the same as."""
_STATUS = "CoreDevice.XPCMessageKey.sideChannelStatus"
_PREFIX = "com.apple.coredevice.feature."
_DOMAIN = "com.apple.dt.CoreDeviceError"
_LAUNCH_FAILED, _NO_SUCH_PROCESS, _UNSUPPORTED, _ORDERED = 10002, 10004, 1001, 1


def features(phone: Phone) -> list[str]:
    """Return the names under which the service advertises its features."""
    return [_PREFIX + name for name in (*FEATURES, *(STREAMS if _streams(phone) else ()))]


def _streams(phone: Phone) -> bool:
    return phone.identity.version >= (26,)


class _Failed(Exception):
    def __init__(self, code: int, description: str, underlying: dict[str, Any] | None = None) -> None:
        super().__init__(description)
        info: dict[str, Any] = {"NSLocalizedDescription": description}
        if underlying is not None:
            info["NSUnderlyingError"] = underlying
        self.error = {"domain": _DOMAIN, "code": XpcInt64Type(code), "userInfo": info}


async def serve(phone: Phone, connection: Connection, sockets: Sockets) -> None:
    """Answer one connection's invocations until it ends."""
    channel = RemoteXpc(connection)
    await channel.open()
    async for message in channel.messages():
        feature = str(message.content.get("CoreDevice.featureIdentifier", "")).removeprefix(_PREFIX)
        if _streams(phone) and feature == "listapps":
            continue  # From iOS 26 on it is never answered.
        if _streams(phone) and feature in STREAMS:
            await _stream(phone, channel, message, STREAMS[feature])
            continue
        try:
            given = mapping(message.content.get("CoreDevice.input"))
            answer: dict[str, Any] = {"CoreDevice.output": await _answer(phone, connection, sockets, feature, given)}
        except Refused as refused:
            answer = {"CoreDevice.error": _Failed(_ORDERED, refused.error or "A fault was ordered").error}
        except _Failed as failed:
            answer = {"CoreDevice.error": failed.error}
        if message.wants_reply:
            await channel.reply(message, answer)


async def _answer(phone: Phone, connection: Connection, sockets: Sockets, feature: str, given: dict[str, Any]) -> Any:
    match feature:
        case "launchapplication":
            await phone.faults.at("appservice.launch", connection)
            return {"processToken": _token(await _launch(phone, sockets, given))}
        case "listapps":
            return _listed(phone, feature)
        case "listprocesses":
            return {"processTokens": _listed(phone, feature)}
        case "sendsignaltoprocess":
            await phone.faults.at("appservice.signal", connection)
            pid = int(mapping(given.get("process")).get("processIdentifier", 0))
            running = phone.processes.get(pid)
            if running is None:
                raise _Failed(_NO_SUCH_PROCESS, f"There is no process {pid}.")
            running.signal(int(given.get("signal", signal.SIGKILL)), "client")
            return {"process": _token(running)}
        case "uninstallapp":
            phone.apps.uninstall(str(given.get("bundleIdentifier", "")))
            return {}
        case _:
            raise _Failed(_UNSUPPORTED, f"The device does not support {feature}.")


def _listed(phone: Phone, feature: str) -> list[dict[str, Any]]:
    """Return the elements of a list, whether it is sent at once or piece by piece."""
    if feature == "listprocesses":
        return [_token(running) for running in phone.processes.all()]
    return [
        {
            "bundleIdentifier": app.bundle_id,
            "bundleVersion": str(app.info["CFBundleVersion"]),
            "version": str(app.info.get("CFBundleShortVersionString", "")),
            "name": str(app.info.get("CFBundleName", app.bundle.stem)),
            "isRemovable": True,
            "isDeveloperApp": True,
        }
        for app in phone.apps.all()
    ]


async def _stream(phone: Phone, channel: RemoteXpc, message: Message, feature: str) -> None:
    given = mapping(message.content.get("CoreDevice.input"))
    side = {"XPCSideChannel.uniqueIdentifier": mapping(given.get("streamProxy")).get("sideChannel")}
    await channel.reply(message, {**side, _STATUS: {"pushing": {"elements": _listed(phone, feature)}}})
    await channel.reply(message, {**side, _STATUS: {"finishStreaming": {}}})


async def _launch(phone: Phone, sockets: Sockets, given: dict[str, Any]) -> Running:
    specifier = mapping(given.get("applicationSpecifier"))
    bundle_id = str(mapping(specifier.get("bundleIdentifier")).get("_0", ""))
    options = mapping(given.get("options"))
    stdio = sockets.find(mapping(given.get("standardIOIdentifiers")).get("standardOutput"))
    try:
        running = await phone.processes.launch(
            bundle_id,
            [str(argument) for argument in options.get("arguments", ())],
            {str(name): str(value) for name, value in mapping(options.get("environmentVariables")).items()},
            sink=stdio.write if stdio is not None else None,
            connection=stdio.connection if stdio is not None else None,
            suspended=bool(options.get("startStopped")),
            kill_existing=bool(options.get("terminateExisting", True)),
        )
    except LaunchRefused as refused:
        reason = f"The request was denied by service delegate (SBMainWorkspace) for reason: {refused.reason}"
        raise _Failed(
            _LAUNCH_FAILED,
            "The application failed to launch.",
            {
                "domain": "FBSOpenApplicationServiceErrorDomain",
                "code": XpcInt64Type(1),
                "userInfo": {
                    "NSLocalizedDescription": f'The request to open "{bundle_id}" failed.',
                    "NSLocalizedFailureReason": f'{reason} ("{refused}").',
                },
            },
        ) from refused
    if stdio is not None:
        stdio.follow(running)
    return running


def _token(running: Running) -> dict[str, Any]:
    return {
        "processIdentifier": XpcInt64Type(running.pid),
        "executableURL": {"relative": running.app.executable.as_uri()},
    }
