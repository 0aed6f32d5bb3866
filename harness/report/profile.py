"""Report a profile as lines and tables: per operator, per module, and the time outside the kernels."""

from __future__ import annotations

from collections.abc import Sequence

from harness.profiling.groups import Group, ModuleTime, by_module, by_operator, by_site
from harness.profiling.roofline import peak
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, digits, duration
from harness.results.schema.profile import ProfileSummary

HEADER = ["operators", "calls", "ms", "share", "each", "MB", "GB/s", "MFLOP", "GFLOP/s", "of roofline"]
NOTE = (
    "Means over the {unit}s, times of the instrumented archive. A kernel of several operators is listed with "
    "all their names. each: the median call; rates are of it. FLOPs are those of products, convolutions and attention. "
    "of roofline: the least time that this core's memory and arithmetic allow, over the time taken."
)
MARGIN = 0.05
"""The cost of profiling from which there is a warning."""


def profile_report(profile: ProfileSummary, *, sites: bool = False) -> list[Block]:
    """Return the blocks of one profile; ``sites`` adds every kernel's call."""
    title = f"Profile of {profile.workload}"
    blocks: list[Block] = [Heading(f"{title} (emulated)" if profile.emulated else title), *_head(profile)]
    blocks.append(_table(profile, by_operator(profile), HEADER, NOTE.format(unit=profile.unit), outside=True))
    blocks.append(Heading(f"{title} by module"))
    blocks.append(_modules(profile))
    if sites:
        blocks.append(Heading(f"{title} by call"))
        blocks.append(_table(profile, by_site(profile), ["module: operators", *HEADER[1:]], None, outside=False))
    return blocks


def profile_text(profile: ProfileSummary) -> str:
    """Return one line: where most time goes, and the cost of profiling."""
    slowest = by_operator(profile)[:1]
    parts = [f"{_share(group.total_ns, profile)} of the time in {group.name}" for group in slowest]
    return f"profile of {profile.workload}: {'; '.join([*parts, overhead_text(profile)])}"


def overhead_text(profile: ProfileSummary) -> str:
    """Return ``profiling costs +1.2% [+0.4%, +2.0%] of the words' time``, or a warning of a noisy machine."""
    found = profile.overhead
    if found is None:
        return "what profiling costs was not measured"
    bounds = "" if found.low is None or found.high is None else f" [{found.low - 1:+.1%}, {found.high - 1:+.1%}]"
    emulated = ", emulated" if profile.emulated else ""
    cost = f"{found.ratio - 1:+.1%}{bounds} of the {profile.unit}s' time{emulated}"
    if found.noisy:
        return f"the machine was too noisy, measure again: profiling would cost {cost}, and it cannot save any"
    return f"profiling costs {cost}"


def _head(profile: ProfileSummary) -> list[Line]:
    found = profile.overhead
    plain = "the run's own timings are of the plain archive"
    if found is not None and found.noisy:
        lines = [Line(f"{overhead_text(profile)}; the times below are not to be trusted", Tone.UNSURE)]
    else:
        lines = [Line(f"{overhead_text(profile)}; {plain}")]
    if found is not None and (found.low if found.low is not None else found.ratio) > 1 + MARGIN:
        lines.append(
            Line(f"profiling costs more than {MARGIN:.0%}: small kernels look slower than they are", Tone.UNSURE)
        )
    if profile.emulated:
        lines.append(Line("An emulator's times are no measure of a phone's: no rates are given.", Tone.UNSURE))
    elif profile.machine is not None:
        speeds = ", ".join(
            f"{rate / 1e9:.0f} GB/s at {_size(size)}" for size, rate in sorted(profile.machine.bandwidth.items())
        )
        flops = peak(profile.machine, profile.precision)
        lines.append(Line(f"this core reads {speeds}; {flops / 1e9:.0f} GFLOP/s ({profile.precision})"))
    return lines


def _table(
    profile: ProfileSummary, groups: Sequence[Group], header: Sequence[str], note: str | None, *, outside: bool
) -> Table:
    rows = [_row(profile, group) for group in groups]
    if outside:
        empty = [DASH] * 6
        for function in profile.functions:
            between = max(0, function.total_ns - function.kernel_ns)
            rows.append([f"{function.name}: between kernels", DASH, *_time(between, profile), *empty])
        within = sum(function.total_ns for function in profile.functions)
        # A tensor workload is one function, and nothing else is timed.
        if (rest := profile.total_ns - within) > 0:
            rows.append(["outside the model's functions", DASH, *_time(rest, profile), *empty])
    return Table(header, rows, note=note)


def _row(profile: ProfileSummary, group: Group) -> list[str]:
    shown = not profile.emulated
    return [
        group.name,
        digits(group.calls / profile.samples),
        *_time(group.total_ns, profile),
        duration(group.typical_ns / group.calls),
        DASH if group.bytes is None else digits(group.bytes / profile.samples / 1e6),
        _rate(group.bandwidth if shown else None),
        DASH if group.flops is None else digits(group.flops / profile.samples / 1e6),
        _rate(group.flop_rate if shown else None),
        DASH if group.efficiency is None or not shown else f"{group.efficiency:.0%}",
    ]


def _modules(profile: ProfileSummary) -> Table:
    rows = [
        [
            f"{found.function} {_indented(found)}",
            digits(found.calls / profile.samples),
            *_time(found.total_ns, profile),
            *_time(found.own_ns, profile),
        ]
        for found in by_module(profile)
    ]
    note = "A module's time holds that of the modules within it; own: of kernels that belong to none of those."
    return Table(["module", "kernels", "ms", "share", "own ms", "own share"], rows, note=note)


def _indented(found: ModuleTime) -> str:
    return found.path or "(whole)"


def _time(nanoseconds: int, profile: ProfileSummary) -> list[str]:
    return [digits(nanoseconds / profile.samples / 1e6), _share(nanoseconds, profile)]


def _share(nanoseconds: int, profile: ProfileSummary) -> str:
    return f"{nanoseconds / profile.total_ns:.1%}" if profile.total_ns else DASH


def _rate(value: float | None) -> str:
    return DASH if value is None else digits(value)


def _size(count: int) -> str:
    return f"{count // 2**20} MB" if count >= 2**20 else f"{count // 2**10} kB"
