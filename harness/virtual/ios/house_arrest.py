"""Serve house_arrest: the Apple File Conduit into one app's container."""

from __future__ import annotations

from harness.virtual.ios import afc
from harness.virtual.ios.faults import Refused
from harness.virtual.ios.files import Room
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    """Vend a container, then serve its files on the same connection."""
    while True:
        request = await connection.read_plist()
        room: Room | None = None
        try:
            await phone.faults.at("house_arrest.vend", connection)
            room, error = _vend(phone, str(request.get("Command")), str(request.get("Identifier")))
        except Refused as refused:
            error = refused.error or "InstallationLookupFailed"
        if room is None:
            await connection.send_plist({"Error": error})
            continue
        await connection.send_plist({"Status": "Complete"})
        await afc.serve(phone, connection, room)
        return


def _vend(phone: Phone, command: str, bundle_id: str) -> tuple[Room | None, str]:
    if command not in ("VendContainer", "VendDocuments"):
        return None, "UnknownCommand"
    app = phone.apps.get(bundle_id)
    if app is None:
        return None, "ApplicationLookupFailed"
    if command == "VendContainer":
        # A phone opens whole containers only of apps that are signed for debugging.
        return (Room(app.container), "") if app.debuggable else (None, "InstallationLookupFailed")
    if not app.info.get("UIFileSharingEnabled"):
        return None, "InstallationLookupFailed"
    return Room(app.container, "Documents"), ""
