"""Read a device's lasting facts from the output of ``facts.sh``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from harness.devices.android.sections import by_core, last_line, sections, whole_number
from harness.devices.android.topology import Topology, parse_topology

_PROPERTY = re.compile(r"^\[(?P<name>[^\]\n]+)\]: \[(?P<value>.*?)\][ \t]*$", re.MULTILINE | re.DOTALL)
"""Matches one property. A value may have several lines, such as the reasons of the last restarts."""
_PARTS = {  # what makers write into a core's identification register, by their own manuals and the kernel's tables
    "0x41": {
        "0xd02": "Cortex-A34",
        "0xd03": "Cortex-A53",
        "0xd04": "Cortex-A35",
        "0xd05": "Cortex-A55",
        "0xd07": "Cortex-A57",
        "0xd08": "Cortex-A72",
        "0xd09": "Cortex-A73",
        "0xd0a": "Cortex-A75",
        "0xd0b": "Cortex-A76",
        "0xd0c": "Neoverse-N1",
        "0xd0d": "Cortex-A77",
        "0xd41": "Cortex-A78",
        "0xd44": "Cortex-X1",
        "0xd46": "Cortex-A510",
        "0xd47": "Cortex-A710",
        "0xd48": "Cortex-X2",
        "0xd4b": "Cortex-A78C",
        "0xd4c": "Cortex-X1C",
        "0xd4d": "Cortex-A715",
        "0xd4e": "Cortex-X3",
        "0xd80": "Cortex-A520",
        "0xd81": "Cortex-A720",
        "0xd82": "Cortex-X4",
        "0xd85": "Cortex-X925",
        "0xd87": "Cortex-A725",
    },
    "0x51": {
        "0x001": "Oryon",
        "0x800": "Kryo 2xx Gold",
        "0x801": "Kryo 2xx Silver",
        "0x802": "Kryo 3xx Gold",
        "0x803": "Kryo 3xx Silver",
        "0x804": "Kryo 4xx Gold",
        "0x805": "Kryo 4xx Silver",
    },
}
_NO_SERIAL = {"unknown", "null", "none", "0"}
"""Answers of phones that keep their serial from the shell, or were built without one."""


HARDWARE = ("ro.serialno", "ro.boot.serialno")
"""The properties that contain a phone's own serial."""


@dataclass(frozen=True)
class AndroidFacts:
    """Hold a device's facts.

    ``properties`` are the system properties; ``facts`` are those of :meth:`Device.facts` besides kind and name.
    """

    properties: dict[str, str]
    topology: Topology
    facts: dict[str, Any]

    boot: str | None = None
    """The kernel's id of its current start."""

    @property
    def model(self) -> str:
        return self.properties.get("ro.product.model") or "Android device"

    @property
    def hardware_serial(self) -> str | None:
        """Return the phone's own serial, however it is attached; None if it does not report one."""
        return hardware_serial(self.properties)

    @property
    def abis(self) -> list[str]:
        listed = self.properties.get("ro.product.cpu.abilist") or self.properties.get("ro.product.cpu.abi") or ""
        return [abi for abi in listed.split(",") if abi]


def parse_facts(text: str) -> AndroidFacts:
    """Return the facts from the whole output of ``facts.sh``; missing ones are None."""
    found = sections(text)
    properties = properties_of(found.get("props", ""))
    topology = parse_topology(found)

    def prop(*names: str) -> str | None:
        return next((value for name in names if (value := properties.get(name))), None)

    sdk = prop("ro.build.version.sdk")
    parsed = AndroidFacts(properties, topology, {}, last_line(found.get("boot", "")) or None)
    governors = by_core(found.get("governors", ""))
    parsed.facts.update(
        cpu_model=_cpu_model(found.get("cpuinfo", ""), properties),
        cpu_features=_cpu_features(found.get("cpuinfo", "")),
        cores=len(topology.online) or None,
        arch=last_line(found.get("machine", "")) or None,
        governor=", ".join(sorted(set(governors.values()))) or None,
        memory_bytes=_kilobytes(found.get("memory", "")),
        os=f"Android {prop('ro.build.version.release') or '?'}",
        kernel=last_line(found.get("kernel", "")) or None,
        model=prop("ro.product.model"),
        manufacturer=prop("ro.product.manufacturer"),
        soc=_soc(properties),
        android_version=prop("ro.build.version.release"),
        sdk=whole_number(sdk or ""),
        fingerprint=prop("ro.build.fingerprint"),
        security_patch=prop("ro.build.version.security_patch"),
        build_type=prop("ro.build.type"),
        abis=parsed.abis,
        clusters=[cluster.as_facts() for cluster in topology.clusters],
    )
    return parsed


def hardware_serial(properties: dict[str, str]) -> str | None:
    """Return the phone's own serial from its properties; None if it does not report one."""
    serials = (properties.get(name, "").strip() for name in HARDWARE)
    return next((serial for serial in serials if serial and serial.lower() not in _NO_SERIAL), None)


def properties_of(text: str) -> dict[str, str]:
    """Return the system properties from the output of ``getprop``."""
    return {match["name"]: match["value"].strip() for match in _PROPERTY.finditer(text)}


def _soc(properties: dict[str, str]) -> str | None:
    # ro.soc.* came with Android 12. Before that, makers put the chip's name into one of these.
    model = properties.get("ro.soc.model")
    if model and model != "unknown":
        maker = properties.get("ro.soc.manufacturer", "")
        return f"{maker} {model}".strip()
    names = ("ro.chipname", "ro.hardware.chipname", "ro.board.platform", "ro.hardware")
    return next((value for name in names if (value := properties.get(name))), None)


def _cpu_model(cpuinfo: str, properties: dict[str, str]) -> str | None:
    """Return the kinds of cores with their counts, or the line of /proc/cpuinfo that names the processor."""
    fields: dict[str, list[str]] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            fields.setdefault(name.strip(), []).append(value.strip())
    makers, parts = fields.get("CPU implementer", []), fields.get("CPU part", [])
    if parts and len(makers) == len(parts):
        names = [
            _PARTS.get(maker, {}).get(part) or (f"ARM {part}" if maker == "0x41" else f"{maker}/{part}")
            for maker, part in zip(makers, parts, strict=True)
        ]
        counted = [f"{names.count(name)}× {name}" for name in dict.fromkeys(names)]
        return " + ".join(counted)
    for name in ("model name", "Hardware", "Processor"):
        if name in fields:
            return fields[name][0]
    return _soc(properties)


def _cpu_features(cpuinfo: str) -> list[str] | None:
    """Return the instruction sets that every core has, by the kernel's names; None if it does not list them."""
    listed = [
        set(value.split())
        for name, colon, value in (line.partition(":") for line in cpuinfo.splitlines())
        if colon and name.strip() in ("Features", "flags") and value.strip()
    ]
    return sorted(set.intersection(*listed)) if listed else None


def _kilobytes(text: str) -> int | None:
    match = re.search(r":\s*(\d+) kB", text)
    return int(match[1]) * 1024 if match else None
