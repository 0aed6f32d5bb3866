"""Apps for iPhones in which a script runs in place of an iPhone's code, and the ways in which one can be wrong."""

from __future__ import annotations

import hashlib
import json
import plistlib
import struct
import sys
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.devices.fake_runners import ARCHIVE

BUNDLE_ID = "dev.harness.test"
EXECUTABLE = "TestRunner"
ARM64, X86_64 = 0x0100000C, 0x01000007
IOS, SIMULATOR = 2, 7
PAGE = 4096

PRELUDE = """#!{python} -IS
import json, os, signal, sys, time

if sys.argv[1:] == ["--describe"]:
    {describing}
    print(json.dumps({{"runner_version": "0.1", "archive_sha256": "{archive}", "arch": "x", "os": "y",
                       "prefixes": ["g2p_"]}}))
    sys.exit(0)
documents = os.environ["HOME"] + "/Documents/"
try:
    order = json.load(open(documents + "order.json"))
    result = open(documents + "result.jsonl", "x")
except OSError as error:
    print("error:", error)
    sys.exit(2)
pause = 0.0
stuck_at = ()
chatty = False

def put(**record):
    line = json.dumps(record)
    result.write(line + "\\n")
    result.flush()
    print(line, flush=True)

def header(**changes):
    put(**{{"record": "header", "schema_version": 2, "order_id": order["order_id"], "runner_version": "0.1",
        "archive_sha256": order["archive_sha256"], "os": "ios", "arch": "aarch64",
        "cpu": {{"model": "fake", "cores": 1, "features": []}}, "threads": 1, "pid": 1,
        "started_unix_ns": 1}} | changes)

def load():
    for function in order["workloads"][0]["functions"]:
        put(record="load", workload="g2p", function=function, load_ns=1000)

def output(item):
    return {{"token_ids": [byte + 3 for byte in item["label"].encode()] + [1], "text": item["label"]}}

samples = 0
def passes():
    global samples
    first = True
    for phase, count in (("warmup", order["warmup"]), ("timed", order["repetitions"])):
        for repetition in range(count):
            for item in order["items"]:
                samples += 1
                if samples > order["skip_samples"]:
                    put(record="sample", workload="g2p", items=[item["id"]], phase="first" if first else phase,
                        repetition=repetition, total_ns=5000 + samples,
                        parts={{"encoder": [1000], "prefill": [500], "step": [700, 700]}}, outputs=[output(item)])
                    first = False
                    if samples in stuck_at:
                        stay()
                    time.sleep(pause)

def stay():
    for _ in range(12000):
        if chatty:
            print(".", flush=True)
        time.sleep(0.05)

def memory():
    put(record="memory", peak_bytes=4096)

def thermal(state):
    put(record="thermal", state=state, at_unix_ns=1)

def probe():
    if order["probe"]:
        for item in order["items"][order["skip_probes"]:]:
            put(record="probe", workload="g2p", items=[item["id"]], outputs=[output(item)])

def end(status="ok", **changes):
    put(**{{"record": "end", "order_id": order["order_id"], "status": status, "samples": samples}} | changes)

def everything():
    header(); load(); passes(); memory(); probe(); end()
"""


@dataclass(frozen=True)
class Flaws:
    """What is wrong with an app; nothing unless told. ``profile`` False: it has none."""

    processor: int = ARM64
    platform: int = IOS
    minimum: str = "14.0"
    signed: bool = True
    bundle_id: str = BUNDLE_ID
    executable: str = EXECUTABLE
    profile: bool = True
    expired: bool = False
    profile_for: str | None = None
    profile_app: str | None = None


def write_app(
    folder: Path, udid: str, body: str = "everything()", flaws: Flaws | None = None, *, describing: str = "pass"
) -> Path:
    """An .ipa for the phone ``udid`` whose companion behaves as ``body`` says, and first does ``describing`` when it is
    asked what it is."""
    flaws = flaws or Flaws()
    info: dict[str, Any] = {
        "CFBundleIdentifier": flaws.bundle_id,
        "CFBundleExecutable": flaws.executable,
        "CFBundleVersion": "1",
        "CFBundleShortVersionString": "1.0",
        "MinimumOSVersion": flaws.minimum,
        "UIFileSharingEnabled": True,
    }
    script = PRELUDE.format(python=sys.executable, archive=ARCHIVE, describing=describing) + body + "\n"
    files = {
        "Info.plist": (plistlib.dumps(info), 0o644),
        flaws.executable: (mach_o(flaws), 0o755),
        "companion/runner": (script.encode(), 0o755),
    }
    if flaws.profile:
        profile = {
            "Name": "Tests",
            "ExpirationDate": datetime(2001 if flaws.expired else 2999, 1, 1),
            "ProvisionedDevices": [flaws.profile_for or udid],
            "Entitlements": {
                "application-identifier": f"TESTS00000.{flaws.profile_app or flaws.bundle_id}",
                "get-task-allow": True,
            },
        }
        files["embedded.mobileprovision"] = (plistlib.dumps(profile), 0o644)
    path = folder / "app.ipa"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, (data, mode) in files.items():
            entry = zipfile.ZipInfo(f"Payload/{EXECUTABLE}.app/{inside}")
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return path


def mach_o(flaws: Flaws) -> bytes:
    """A Mach-O executable that returns at once, with an ad-hoc signature of its pages."""
    major, minor = (int(part) for part in flaws.minimum.split("."))
    version = major << 16 | minor << 8
    build = struct.pack("<6I", 0x32, 24, flaws.platform, version, version, 0)
    signature_size = 16
    sizes = 72 + 72 + len(build) + 24 + (signature_size if flaws.signed else 0)
    directory = _directory_size()
    blob_size = 20 + directory
    text = struct.pack("<II16sQQQQiiII", 0x19, 72, b"__TEXT", 0, PAGE, 0, PAGE, 5, 5, 0, 0)
    link = struct.pack(
        "<II16sQQQQiiII", 0x19, 72, b"__LINKEDIT", PAGE, PAGE, PAGE, blob_size if flaws.signed else 0, 1, 1, 0, 0
    )
    main = struct.pack("<IIQQ", 0x80000028, 24, 2048, 0)
    commands = text + link + build + main
    if flaws.signed:
        commands += struct.pack("<IIII", 0x1D, 16, PAGE, blob_size)
    count = 5 if flaws.signed else 4
    head = struct.pack("<8I", 0xFEEDFACF, flaws.processor, 0, 2, count, sizes, 0, 0)
    page = (head + commands).ljust(2048, b"\0") + b"\xc0\x03\x5f\xd6"
    page = page.ljust(PAGE, b"\0")
    return page + _signature(page) if flaws.signed else page


_IDENTIFIER = b"harness-test\0"


def _directory_size() -> int:
    return 44 + len(_IDENTIFIER) + 32


def _signature(page: bytes) -> bytes:
    size = _directory_size()
    directory = struct.pack(
        ">9I4BI", 0xFADE0C02, size, 0x20001, 2, 44 + len(_IDENTIFIER), 44, 0, 1, len(page), 32, 2, 0, 12, 0
    )
    directory += _IDENTIFIER + hashlib.sha256(page).digest()
    return struct.pack(">5I", 0xFADE0CC0, 20 + size, 1, 0, 20) + directory


def said(record: dict[str, Any]) -> str:
    """A record as a line of a result."""
    return json.dumps(record) + "\n"
