"""Serve mobile_image_mounter: the developer image, without which a phone has no developer services."""

from __future__ import annotations

import hashlib
from typing import Any

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection

MAXIMUM_IMAGE_BYTES = 1 << 30


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one connection's commands until it ends."""
    kind = "Personalized" if phone.identity.tunnelled else "Developer"
    received = False
    while True:
        request = await connection.read_plist()
        command = request.get("Command")
        try:
            await phone.faults.at("mounter", connection)
        except Refused as refused:
            await connection.send_plist({"Error": refused.error or "InternalError"})
            continue
        if command == "ReceiveBytes":
            size = int(request.get("ImageSize", 0))
            if not 0 < size <= MAXIMUM_IMAGE_BYTES:
                await connection.send_plist({"Error": "InvalidImageSize"})
                continue
            await connection.send_plist({"Status": "ReceiveBytesAck"})
            while size:
                size -= len(await connection.read(min(size, 1 << 20)))
            received = True
            await connection.send_plist({"Status": "Complete"})
        elif command == "QueryPersonalizationManifest" and not phone.state.image_signed:
            # The phone hangs up as well, and its client asks Apple over the internet.
            await connection.send_plist({"Error": "MissingManifest"})
            return
        elif command == "MountImage":
            await connection.send_plist(_mount(phone, kind, request, received))
        else:
            await connection.send_plist(_answer(phone, kind, request))
            if command == "Hangup":
                return


def _mount(phone: Phone, kind: str, request: dict[str, Any], received: bool) -> dict[str, Any]:
    state = phone.state
    if state.locked or state.before_first_unlock:
        return {"Error": "DeviceLocked"}
    if not state.developer_mode:
        return _not_mounted(-4, "Developer mode is not enabled.")
    if state.image == "mounted":
        return _not_mounted(-3, f"A disk image of type {kind}/DeveloperDiskImage is already mounted.")
    if state.image == "unmountable" or not received or request.get("ImageType") != kind:
        return _not_mounted(-1, "Failed to verify the image's signature.")
    state.image, state.image_signed = "mounted", True
    phone.event(f"mount {kind}")
    return {"Status": "Complete"}


def _answer(phone: Phone, kind: str, request: dict[str, Any]) -> dict[str, Any]:
    state = phone.state
    signature = hashlib.sha384(phone.identity.udid.encode()).digest()
    path = "/Developer" if kind == "Developer" else "/System/Developer"
    match request.get("Command"):
        case "LookupImage":
            if state.image == "mounted" and request.get("ImageType") == kind:
                return {"ImagePresent": True, "ImageSignature": [signature], "Status": "Complete"}
            return {"ImagePresent": False, "Status": "Complete"}
        case "CopyDevices":
            entry = {"DiskImageType": kind, "ImageSignature": signature, "IsMounted": True, "MountPath": path}
            return {"EntryList": [entry] if state.image == "mounted" else []}
        case "UnmountImage":
            if state.image != "mounted" or request.get("MountPath") != path:
                return _failed("There is no matching entry in the device map")
            state.image = "missing"
            phone.event(f"unmount {kind}")
            return {"Status": "Complete"}
        case "QueryDeveloperModeStatus":
            return {"DeveloperModeStatus": state.developer_mode}
        case "QueryPersonalizationIdentifiers":
            found = {"BoardId": phone.identity.board_id, "ChipID": phone.identity.chip_id, "SecurityDomain": 1}
            return {"PersonalizationIdentifiers": found}
        case "QueryNonce":
            return {"PersonalizationNonce": signature[:32]}
        case "QueryPersonalizationManifest":
            return {"ImageSignature": signature}
        case "Hangup":
            return {"Goodbye": True}
        case _:
            return {"Error": "UnknownCommand"}


def _not_mounted(code: int, text: str) -> dict[str, Any]:
    error = 'Error Domain=com.apple.MobileStorage.ErrorDomain Code=-2 "Failed to mount the image." UserInfo='
    return {"Error": "ImageMountFailed", "DetailedError": f'{error}{{NSUnderlyingError=Code={code} "{text}"}}'}


def _failed(text: str) -> dict[str, Any]:
    return {"Error": "InternalError", "DetailedError": text}
