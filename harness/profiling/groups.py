"""Group sites by what they compute, and by the modules to which they belong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.profiling.roofline import roofs
from harness.results.schema.profile import ProfileSummary, SiteTime

LAYOUT = frozenset(
    {"view", "permute", "reshape", "transpose", "t", "unsqueeze", "squeeze", "expand", "clone", "contiguous", "alias"}
    | {"getitem", "select", "slice", "detach", "_assert_tensor_metadata", "_to_copy"}
)
"""Operators that only move elements, or nothing. A kernel that also computes is named without them."""
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Group:
    """Hold the sites with one name. ``typical_ns`` is the total time if each call takes its site's median."""

    name: str
    calls: int
    total_ns: int
    typical_ns: float
    bytes: int | None
    flops: int | None
    least_ns: float | None
    """The roofline's least time for all calls; None if it is not known."""

    @property
    def bandwidth(self) -> float | None:
        """Return bytes a nanosecond, which is gigabytes a second."""
        return self.bytes / self.typical_ns if self.bytes is not None and self.typical_ns else None

    @property
    def flop_rate(self) -> float | None:
        """Return operations a nanosecond, which is 10⁹ a second."""
        return self.flops / self.typical_ns if self.flops is not None and self.typical_ns else None

    @property
    def efficiency(self) -> float | None:
        """Return the roofline's time over the measured one: 1 means the machine's full speed."""
        return self.least_ns / self.typical_ns if self.least_ns is not None and self.typical_ns else None


def label(site: SiteTime) -> str:
    """Return a site's operators, each once in the graph's order (``mul linear gelu``), or its kernel's name."""
    names = list(dict.fromkeys(site.operators))
    return " ".join([name for name in names if name not in LAYOUT] or names) or site.kernel


def by_operator(profile: ProfileSummary) -> list[Group]:
    """Return groups of sites with one label in one function, the slowest first."""
    groups = _grouped(profile, lambda site: (site.function, label(site)), lambda key: f"{key[0]}: {key[1]}")
    return sorted(groups, key=lambda group: -group.total_ns)


def by_site(profile: ProfileSummary) -> list[Group]:
    """Return every call of a kernel as a group of its own, in the order in which they run."""
    return _grouped(
        profile, lambda site: (site.function, site.index, site.module, label(site)), lambda key: f"{key[2]}: {key[3]}"
    )


@dataclass(frozen=True)
class ModuleTime:
    """Hold the times of a module and all modules inside. ``own_ns`` counts only kernels of no inner module."""

    function: str
    path: str
    calls: int
    total_ns: int
    own_ns: int


def by_module(profile: ProfileSummary) -> list[ModuleTime]:
    """Return every module with time, in the order of its first kernel, outer modules before inner ones."""
    calls: dict[tuple[str, str], int] = defaultdict(int)
    total: dict[tuple[str, str], int] = defaultdict(int)
    own: dict[tuple[str, str], int] = defaultdict(int)
    for site in profile.sites:
        own[site.function, site.module] += site.total_ns
        parts = site.module.split(".") if site.module else []
        for depth in range(len(parts) + 1):
            path = ".".join(parts[:depth])
            calls[site.function, path] += site.calls
            total[site.function, path] += site.total_ns
    return [
        ModuleTime(function, path, calls[function, path], total[function, path], own[function, path])
        for function, path in total
    ]


def _grouped(profile: ProfileSummary, key: Callable[[SiteTime], _Key], name: Callable[[_Key], str]) -> list[Group]:
    found: dict[_Key, list[SiteTime]] = defaultdict(list)
    for site in profile.sites:
        found[key(site)].append(site)
    limits = roofs(profile)
    least = {
        (site.function, site.index): limits[site.function].least_ns(site)
        for site in profile.sites
        if site.function in limits
    }
    return [_group(name(one), sites, least) for one, sites in found.items()]


def _group(name: str, sites: Sequence[SiteTime], least: Mapping[tuple[str, int], float | None]) -> Group:
    bounds = [least.get((site.function, site.index)) for site in sites]
    return Group(
        name=name,
        calls=sum(site.calls for site in sites),
        total_ns=sum(site.total_ns for site in sites),
        typical_ns=sum(site.median_ns * site.calls for site in sites),
        bytes=_sum([site.bytes for site in sites]),
        flops=_sum([site.flops for site in sites]),
        least_ns=_sum([None if b is None else b * site.calls for b, site in zip(bounds, sites, strict=True)]),
    )


_Number = TypeVar("_Number", int, float)


def _sum(values: Sequence[_Number | None]) -> _Number | None:
    """Return the sum; None if one value is not known."""
    known = [value for value in values if value is not None]
    return sum(known, start=known[0] - known[0]) if known and len(known) == len(values) else None
