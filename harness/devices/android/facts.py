"""What a device is: its lasting facts, read from what ``facts.sh`` printed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from harness.devices.android.sections import by_core, sections
from harness.devices.android.topology import Topology, parse_topology

_PROPERTY = re.compile(r"^\[(?P<name>[^\]]+)\]: \[(?P<value>.*)\]$")
_PARTS = {  # CPU part numbers of ARM's own cores, from its technical reference manuals
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0d": "Cortex-A77",
    "0xd41": "Cortex-A78",
    "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710",
    "0xd48": "Cortex-X2",
    "0xd4d": "Cortex-A715",
    "0xd4e": "Cortex-X3",
    "0xd80": "Cortex-A520",
    "0xd81": "Cortex-A720",
    "0xd82": "Cortex-X4",
}
_ARM = "0x41"


HARDWARE = ("ro.serialno", "ro.boot.serialno")
"""Properties with a phone's own serial."""


@dataclass(frozen=True)
class AndroidFacts:
    """``properties`` are the system properties; ``facts`` what :meth:`Device.facts` tells beyond kind and name."""

    properties: dict[str, str]
    topology: Topology
    facts: dict[str, Any]

    @property
    def model(self) -> str:
        return self.properties.get("ro.product.model") or "Android device"

    @property
    def hardware_serial(self) -> str | None:
        """The phone's own, whatever it is attached by; None if it does not tell."""
        return next((self.properties[name] for name in HARDWARE if self.properties.get(name)), None)

    @property
    def abis(self) -> list[str]:
        listed = self.properties.get("ro.product.cpu.abilist") or self.properties.get("ro.product.cpu.abi") or ""
        return [abi for abi in listed.split(",") if abi]


def parse_facts(text: str) -> AndroidFacts:
    """From the whole output of ``facts.sh``; whatever is missing in it is None."""
    found = sections(text)
    properties = _properties(found.get("props", ""))
    topology = parse_topology(found)

    def prop(*names: str) -> str | None:
        return next((value for name in names if (value := properties.get(name))), None)

    sdk = prop("ro.build.version.sdk")
    parsed = AndroidFacts(properties, topology, {})
    governors = by_core(found.get("governors", ""))
    parsed.facts.update(
        cpu_model=_cpu_model(found.get("cpuinfo", ""), properties),
        cores=len(topology.online) or None,
        arch=found.get("machine") or None,
        governor=", ".join(sorted(set(governors.values()))) or None,
        memory_bytes=_kilobytes(found.get("memory", "")),
        os=f"Android {prop('ro.build.version.release') or '?'}",
        kernel=found.get("kernel") or None,
        model=prop("ro.product.model"),
        manufacturer=prop("ro.product.manufacturer"),
        soc=_soc(properties),
        android_version=prop("ro.build.version.release"),
        sdk=int(sdk) if sdk and sdk.isdigit() else None,
        fingerprint=prop("ro.build.fingerprint"),
        security_patch=prop("ro.build.version.security_patch"),
        build_type=prop("ro.build.type"),
        abis=parsed.abis,
        clusters=[cluster.as_facts() for cluster in topology.clusters],
    )
    return parsed


def _properties(text: str) -> dict[str, str]:
    matches = (_PROPERTY.match(line.strip()) for line in text.splitlines())
    return {match["name"]: match["value"] for match in matches if match}


def _soc(properties: dict[str, str]) -> str | None:
    # ro.soc.* came with Android 12; before, makers put the chip's name into one of these.
    model = properties.get("ro.soc.model")
    if model and model != "unknown":
        maker = properties.get("ro.soc.manufacturer", "")
        return f"{maker} {model}".strip()
    names = ("ro.chipname", "ro.hardware.chipname", "ro.board.platform", "ro.hardware")
    return next((value for name in names if (value := properties.get(name))), None)


def _cpu_model(cpuinfo: str, properties: dict[str, str]) -> str | None:
    """The kinds of core with their counts, or the line of /proc/cpuinfo that names the processor."""
    fields: dict[str, list[str]] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            fields.setdefault(name.strip(), []).append(value.strip())
    makers, parts = fields.get("CPU implementer", []), fields.get("CPU part", [])
    if parts and len(makers) == len(parts):
        names = [
            _PARTS.get(part, f"ARM {part}") if maker == _ARM else f"{maker}/{part}"
            for maker, part in zip(makers, parts, strict=True)
        ]
        counted = [f"{names.count(name)}× {name}" for name in dict.fromkeys(names)]
        return " + ".join(counted)
    for name in ("model name", "Hardware", "Processor"):
        if name in fields:
            return fields[name][0]
    return _soc(properties)


def _kilobytes(text: str) -> int | None:
    match = re.search(r":\s*(\d+) kB", text)
    return int(match[1]) * 1024 if match else None
