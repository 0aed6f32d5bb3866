"""Serve installation_proxy: clients install, remove and look up apps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from harness.virtual.ios.app import App
from harness.virtual.ios.faults import Refused
from harness.virtual.ios.files import Escaped, Room
from harness.virtual.ios.package import Rejected
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection, mapping
from harness.virtual.workspace import remove_tree


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one connection's commands until it ends."""
    while True:
        request = await connection.read_plist()
        try:
            await _answer(phone, connection, request)
        except Refused as refused:
            await _fail(connection, Rejected(refused.error or "APIInternalError", "A fault was ordered"))
        except Rejected as rejected:
            phone.event(f"refuse {str(request.get('Command')).lower()}: {rejected.name}")
            await _fail(connection, rejected)


async def _answer(phone: Phone, connection: Connection, request: dict[str, Any]) -> None:
    options = mapping(request.get("ClientOptions"))
    match request.get("Command"):
        case "Install" | "Upgrade":
            await _install(phone, connection, request)
        case "Uninstall":
            bundle_id = str(request.get("ApplicationIdentifier", ""))
            await connection.send_plist({"Status": "RemovingApplication", "PercentComplete": 50})
            await phone.faults.at("uninstall", connection)
            # A phone reports success when an app is gone, whether it was there or not.
            phone.apps.uninstall(bundle_id)
            await connection.send_plist({"Status": "Complete"})
        case "Lookup":
            await phone.faults.at("apps.lookup", connection)
            wanted = options.get("BundleIDs")
            found = {
                app.bundle_id: _describe(app, options)
                for app in _chosen(phone, options)
                if wanted is None or app.bundle_id in wanted
            }
            await connection.send_plist({"Status": "Complete", "LookupResult": found})
        case "Browse":
            await phone.faults.at("apps.lookup", connection)
            apps = [_describe(app, options) for app in _chosen(phone, options)]
            if apps:
                total = len(apps)
                progress = {"CurrentAmount": total, "CurrentIndex": 0, "Total": total, "CurrentList": apps}
                await connection.send_plist({"Status": "BrowsingApplications", **progress})
            await connection.send_plist({"Status": "Complete"})
        case "CheckCapabilitiesMatch":
            await connection.send_plist({"Status": "Complete", "LookupResult": {"CapabilitiesMatch": True}})
        case _:
            raise Rejected("UnknownCommand", f"There is no command {request.get('Command')}")


async def _install(phone: Phone, connection: Connection, request: dict[str, Any]) -> None:
    try:
        path = Room(phone.media).find(str(request.get("PackagePath", "")))
    except Escaped as error:
        raise Rejected("MissingPackagePath", "The package lies outside of the staging folder") from error
    if not path.exists():
        raise Rejected("MissingPackagePath", f"There is no package at {request.get('PackagePath')}")
    async with contextlib.aclosing(
        phone.apps.install(path, lambda moment: phone.faults.at(moment, connection))
    ) as going:
        async for stage, percent in going:
            await connection.send_plist({"Status": stage, "PercentComplete": percent})
    _remove(path)
    await connection.send_plist({"Status": "Complete"})


def _remove(path: Path) -> None:
    remove_tree(path) if path.is_dir() else path.unlink()


def _chosen(phone: Phone, options: dict[str, Any]) -> list[App]:
    # All apps here were installed from outside, as a user's apps are.
    return phone.apps.all() if options.get("ApplicationType", "User") in ("User", "Any") else []


def _describe(app: App, options: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        **app.info,
        "ApplicationType": "User",
        "Container": str(app.container),
        "Entitlements": app.entitlements,
        "EnvironmentVariables": {"HOME": str(app.container), "CFFIXED_USER_HOME": str(app.container)},
        "IsUpgradeable": True,
        "Path": str(app.bundle),
        "SignerIdentity": "Apple Development: Virtual Developer",
    }
    wanted = options.get("ReturnAttributes")
    if wanted:
        sizes = {"StaticDiskUsage": _usage(app.bundle), "DynamicDiskUsage": _usage(app.container)}
        described = {name: value for name, value in {**described, **sizes}.items() if name in wanted}
    return described


def _usage(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


async def _fail(connection: Connection, rejected: Rejected) -> None:
    answer: dict[str, Any] = {"Error": rejected.name, "ErrorDescription": rejected.description}
    if rejected.detail is not None:
        answer["ErrorDetail"] = rejected.detail
    await connection.send_plist(answer)
