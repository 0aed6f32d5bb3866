"""Sites put together: by what they compute, and by the modules that they belong to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.profiling.roofline import roofs
from harness.results.profile_schema import ProfileSummary, SiteTime

LAYOUT = frozenset(
    {"view", "permute", "reshape", "transpose", "t", "unsqueeze", "squeeze", "expand", "clone", "contiguous", "alias"}
    | {"getitem", "select", "slice", "detach", "_assert_tensor_metadata", "_to_copy"}
)
"""Operators that move elements or nothing; a kernel that also computes is named without them."""
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Group:
    """Sites with one name. ``typical_ns``: what all calls take if each takes its site's median."""

    name: str
    calls: int
    total_ns: int
    typical_ns: float
    bytes: int | None
    flops: int | None
    least_ns: float | None
    """What the roofline allows for all calls; None where it is not known."""

    @property
    def bandwidth(self) -> float | None:
        """Bytes a nanosecond, which is gigabytes a second."""
        return self.bytes / self.typical_ns if self.bytes is not None and self.typical_ns else None

    @property
    def flop_rate(self) -> float | None:
        """Operations a nanosecond, 10⁹ a second."""
        return self.flops / self.typical_ns if self.flops is not None and self.typical_ns else None

    @property
    def efficiency(self) -> float | None:
        """The roofline's time over the measured one: 1 is as fast as the machine can."""
        return self.least_ns / self.typical_ns if self.least_ns is not None and self.typical_ns else None


def label(site: SiteTime) -> str:
    """What a site computes, each operator once in the graph's order (``mul linear gelu``), or its kernel's name."""
    names = list(dict.fromkeys(site.operators))
    return " ".join([name for name in names if name not in LAYOUT] or names) or site.kernel


def by_operator(profile: ProfileSummary) -> list[Group]:
    """Sites of one label within one function, the slowest first."""
    groups = _grouped(profile, lambda site: (site.function, label(site)), lambda key: f"{key[0]}: {key[1]}")
    return sorted(groups, key=lambda group: -group.total_ns)


def by_site(profile: ProfileSummary) -> list[Group]:
    """Every call of a kernel on its own, in the order they run."""
    return _grouped(
        profile, lambda site: (site.function, site.index, site.module, label(site)), lambda key: f"{key[2]}: {key[3]}"
    )


@dataclass(frozen=True)
class ModuleTime:
    """A module with all that is within it. ``own_ns``: of kernels that belong to it and to none within."""

    function: str
    path: str
    calls: int
    total_ns: int
    own_ns: int


def by_module(profile: ProfileSummary) -> list[ModuleTime]:
    """Every module that has time, in the order its first kernel runs, outer modules before inner ones."""
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
    """None where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known, start=known[0] - known[0]) if known and len(known) == len(values) else None
