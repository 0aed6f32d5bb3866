"""Find a device's cores, the big ones among them, and the mask that keeps a runner on those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.devices.android.sections import cores_of, last_line, numbers_by_core, ranges_of


@dataclass(frozen=True)
class Cluster:
    """Describe cores that are alike.

    ``max_khz`` and ``capacity`` (1024 is the system's fastest) may be unreadable: None.
    """

    cores: tuple[int, ...]
    max_khz: int | None
    capacity: int | None

    def as_facts(self) -> dict[str, Any]:
        return {"cores": ranges_of(list(self.cores)), "max_khz": self.max_khz, "capacity": self.capacity}


@dataclass(frozen=True)
class Topology:
    """Hold clusters from the slowest to the fastest; empty if the device does not report them."""

    online: tuple[int, ...]
    clusters: tuple[Cluster, ...]

    def mask(self, threads: int) -> str:
        """Return taskset's mask of the fastest cores for ``threads`` threads, in whole clusters.

        It is empty if all cores are alike. A lone prime core is not enough for two threads, so the next cluster joins
        it.
        """
        if len(self.clusters) < 2:
            return ""
        chosen: list[int] = []
        for cluster in reversed(self.clusters):
            chosen += cluster.cores
            if len(chosen) >= threads:
                break
        return f"{sum(1 << core for core in chosen):x}"


def parse_topology(found: dict[str, str]) -> Topology:
    """Parse the sections of ``facts.sh``: cores are alike if their capacity and maximal frequency are."""
    frequencies = numbers_by_core(found.get("max", ""))
    capacities = numbers_by_core(found.get("capacity", ""))
    online = cores_of(last_line(found.get("online", ""))) or sorted(frequencies | capacities)
    groups: dict[tuple[int | None, int | None], list[int]] = {}
    for core in online:
        if core in frequencies or core in capacities:
            groups.setdefault((capacities.get(core), frequencies.get(core)), []).append(core)
    # Capacity comes first, because a little core may be clocked higher than a big one.
    ordered = sorted(groups.items(), key=lambda group: (group[0][0] or 0, group[0][1] or 0))
    clusters = tuple(Cluster(tuple(cores), khz, capacity) for (capacity, khz), cores in ordered)
    return Topology(tuple(online), clusters)


def cores_of_mask(mask: str) -> list[int]:
    """Return the cores in a hexadecimal mask."""
    bits = int(mask, 16)
    return [core for core in range(bits.bit_length()) if bits >> core & 1]
