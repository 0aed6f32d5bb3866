"""Serve lockdownd: the phone's values, pairing, sessions under TLS, and the ports of its services."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from harness.virtual.ios import services, values
from harness.virtual.ios.faults import Refused
from harness.virtual.ios.pairing import PairRecordUnusable
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection, mapping

TYPE = "com.apple.mobile.lockdown"


@dataclass
class Session:
    """Hold the state of one connection to lockdownd."""

    host: str | None = None
    """The trusted host to which it belongs; through a tunnel every connection is trusted."""
    id: str | None = None
    trusted: bool = False


async def serve(phone: Phone, connection: Connection, *, trusted: bool = False) -> None:
    """Answer one connection until it ends; ``trusted`` is true if a tunnel vouches for the other side."""
    session = Session(trusted=trusted)
    while True:
        request = await connection.read_plist()
        kind = str(request.get("Request", ""))
        secure: str | None = None
        try:
            await phone.faults.at("lockdown.query", connection)
            answer = await _answer(phone, session, kind, request, connection)
            if answer.pop("_secure", False):
                secure = session.host
        except Refused as refused:
            answer = {"Error": refused.error or "InvalidConnection"}
        if "Error" in answer:
            answer["Result"] = "Failure"
        if secure is not None:
            connection.hold()
        await connection.send_plist({"Request": kind, **answer})
        if secure is not None:
            await connection.start_tls(phone.pairings.tls(secure))
        if kind == "Goodbye":
            return


async def _answer(
    phone: Phone, session: Session, kind: str, request: dict[str, Any], connection: Connection
) -> dict[str, Any]:
    match kind:
        case "QueryType":
            return {"Type": TYPE}
        case "GetValue":
            return values.read(phone, request, trusted=session.trusted)
        case "SetValue" | "RemoveValue":
            if not session.trusted:
                return {"Error": "SetProhibited" if kind == "SetValue" else "RemoveProhibited"}
            return values.write(phone, request)
        case "Pair":
            await phone.faults.at("lockdown.pair", connection)
            return _pair(phone, request)
        case "ValidatePair":
            host = mapping(request.get("PairRecord")).get("HostID")
            return {} if host in phone.pairings.hosts() else {"Error": "InvalidHostID"}
        case "Unpair":
            host = str(mapping(request.get("PairRecord")).get("HostID", ""))
            if not phone.pairings.forget(host):
                return {"Error": "InvalidHostID"}
            phone.event(f"unpair {host}")
            return {}
        case "StartSession":
            await phone.faults.at("lockdown.session", connection)
            return _start_session(phone, session, request)
        case "StopSession":
            if session.id is None or request.get("SessionID") != session.id:
                return {"Error": "InvalidSessionID"}
            session.id, session.trusted = None, False
            return {"Result": "Success"}
        case "StartService":
            return await _start_service(phone, session, request, connection)
        case "Goodbye":
            return {"Result": "Success"}
        case _:
            return {"Error": "InvalidRequest"}


def _pair(phone: Phone, request: dict[str, Any]) -> dict[str, Any]:
    record = request.get("PairRecord")
    if not isinstance(record, dict):
        return {"Error": "MissingPairRecord"}
    if phone.state.locked or phone.state.before_first_unlock:
        return {"Error": "PasswordProtected"}
    if record.get("HostID") not in phone.pairings.hosts():
        if phone.state.pairing == "asks":
            return {"Error": "PairingDialogResponsePending"}
        if phone.state.pairing == "refuses":
            return {"Error": "UserDeniedPairing"}
    try:
        phone.pairings.trust(record)
    except PairRecordUnusable:
        return {"Error": "InvalidPairRecord"}
    phone.event(f"pair {record['HostID']}")
    return {"EscrowBag": uuid.uuid4().bytes * 2}


def _start_session(phone: Phone, session: Session, request: dict[str, Any]) -> dict[str, Any]:
    host = request.get("HostID")
    if not isinstance(host, str):
        return {"Error": "MissingHostID"}
    if host not in phone.pairings.hosts():
        return {"Error": "InvalidHostID"}
    if session.id is not None:
        return {"Error": "SessionActive"}
    session.host, session.id, session.trusted = host, str(uuid.uuid4()).upper(), True
    return {"SessionID": session.id, "EnableSessionSSL": True, "_secure": True}


async def _start_service(
    phone: Phone, session: Session, request: dict[str, Any], connection: Connection
) -> dict[str, Any]:
    name = str(request.get("Service", ""))
    if not session.trusted:
        return {"Error": "SessionInactive"}
    try:
        await phone.faults.at(f"start:{name}", connection)
    except Refused as refused:
        return {"Error": refused.error or "InvalidService", "Service": name}
    if phone.state.before_first_unlock and "EscrowBag" not in request:
        return {"Error": "PasswordProtected", "Service": name}
    handler = services.find(phone, name)
    # Through a tunnel, services are on ports that are known from the start.
    if handler is None or session.host is None:
        return {"Error": "InvalidService", "Service": name}
    return {"Service": name, "Port": phone.open_port(handler, session.host), "EnableServiceSSL": True}
