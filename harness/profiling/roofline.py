"""Compute the least time of a call: its bytes at the memory's speed, its operations at the processor's.

The roofline model of Williams, Waterman and Patterson (2009), with the two rates measured on the same core.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from harness.protocol.schema import Machine, Precision
from harness.results.schema.profile import ProfileSummary, SiteTime


def bandwidth_at(curve: Mapping[int, float], size: float) -> float:
    """Return the bytes a second at a working set of ``size`` bytes: linear between sizes, constant beyond the ends.

    ``curve`` maps measured working sets in bytes to bytes a second. Raises ValueError if it is empty.
    """
    if not curve:
        raise ValueError("no bandwidth was measured")
    sizes = sorted(curve)
    if size <= sizes[0]:
        return curve[sizes[0]]
    for low, high in itertools.pairwise(sizes):
        if size <= high:
            share = (size - low) / (high - low)
            return curve[low] + share * (curve[high] - curve[low])
    return curve[sizes[-1]]


@dataclass(frozen=True)
class Roof:
    """Hold the bytes and operations a second that a function's kernels could reach."""

    bandwidth: float
    flops: float

    def least_ns(self, site: SiteTime) -> float | None:
        """Return the least nanoseconds for one call of a site; None if its bytes are not known."""
        if site.bytes is None:
            return None
        memory = site.bytes / site.calls / self.bandwidth
        return 1e9 * max(memory, (site.flops or 0) / site.calls / self.flops)


def roofs(profile: ProfileSummary) -> dict[str, Roof]:
    """Return the roof of each function; empty if the device's speed is not known or is an emulator's.

    A function's working set is the bytes that its kernels move in one call. All other bytes are moved before a weight
    is read again in the next call, so the weight comes from memory of that size.
    """
    machine = profile.machine
    if machine is None or profile.emulated:
        return {}
    found = {}
    for function in profile.functions:
        moved = sum(site.bytes or 0 for site in profile.sites if site.function == function.name)
        bandwidth = bandwidth_at(machine.bandwidth, moved / max(function.calls, 1))
        found[function.name] = Roof(bandwidth, peak(machine, profile.precision))
    return found


def peak(machine: Machine, precision: Precision) -> float:
    """Return the operations a second: of the integer dot product if weights of few bits use one, else of float32."""
    integer = machine.flops.get("int8") if precision in ("int8", "int4") else None
    return integer if integer is not None else machine.flops["float32"]
