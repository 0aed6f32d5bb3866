"""Report the result of ``harness explain`` as lines and a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.explain.schema import Error, Explanation, SiteRow
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, margin
from harness.report.reproduce import explanation_reproduction

HEADER = ["call", "module", "operation", "max abs", "max rel", "cosine", "SNR dB", "of allowed", "inherited too"]
NOTE = (
    "max abs, max rel, cosine, SNR: of the kernel's output compared with PyTorch in float64 on its own inputs. "
    "max rel is relative to the root mean square. of allowed: the largest error divided by the allowed one, which is a "
    "multiple of the error of PyTorch's own float32 (and of the archive's precision) there. "
    "inherited too: the same compared with PyTorch's own run, from the word on."
)
MOST = 40
"""The most rows of a shortened table: those around the first divergence, or those with the largest errors."""
MOST_KERNELS, MOST_LETTERS = 4, 32
"""The most kernels named in a line, and the most letters of a fused kernel's name."""


def explanation_report(found: Explanation, *, everything: bool = False) -> list[Block]:
    """Return the blocks of an explanation for a terminal, Markdown or the page."""
    rows = [row for row in found.rows if row.own is not None]
    shown = rows if everything else _shown(rows, found.first)
    title = f"{found.word} ({found.item}), {found.variant}" if found.word else found.name
    blocks: list[Block] = [Heading(title), *_head(found)]
    left = len(rows) - len(shown)
    note = NOTE + (f" {left} more calls are in the page and in the JSON file (--all shows them)." if left else "")
    blocks.append(Table(HEADER, [_row(row, found.first) for row in shown], note=note))
    return blocks


def verdict_lines(found: Explanation) -> list[Line]:
    """Return lines that state which operation diverges, and where."""
    first = found.first
    if first is None:
        text = "no kernel diverges from PyTorch beyond the measured error"
        return [Line(text, Tone.GOOD if found.tie or found.verdict in (None, "equal") else Tone.UNSURE)]
    where = first.module or "(the function's own module)"
    lines = [
        Line(f"first module that diverges: {first.function}, {where}", Tone.BAD),
        Line(f"first operation that diverges: {operation_text(first)}, in {first.place}", Tone.BAD),
    ]
    error = first.whole if found.inherited else first.own
    if error is not None:
        size = "not finite" if error.largest is None else f"{error.largest:.3g}"
        lines.append(Line(f"its error is {size}, {error.allowed:.3g} is allowed ({_times(error)} times that)"))
    if len(first.operators) > 1:
        lines.append(Line(f"one kernel computes {', '.join(first.operators)}: it is one of those"))
    if first.unseen:
        lines.append(Line(f"or of {', '.join(first.unseen)} before it, which were not compared", Tone.UNSURE))
    if found.inherited:
        lines.append(Line("no kernel diverges by itself: errors within their limits have accumulated", Tone.UNSURE))
    return lines


def operation_text(row: SiteRow) -> str:
    """Return a row's operation as ``linear_3 (aten.linear.default)``."""
    return row.kernel if row.operation is None else f"{row.operation} ({row.target})"


def _head(found: Explanation) -> list[Line]:
    lines = verdict_lines(found)
    if found.step is not None:
        margins = f"PyTorch's margin {margin(found.expected_margin)}, the runner's {margin(found.got_margin)}"
        kind = "a declared tie: no failure" if found.tie else "no tie"
        lines.append(
            Line(
                f"the run's tokens part at step {found.step}: {_token(found.expected_token)} expected, "
                f"{_token(found.got_token)} got ({margins}): {kind}"
            )
        )
    elif found.verdict is not None:
        lines.append(Line(f"the run's verdict: {found.verdict}{f', {found.detail}' if found.detail else ''}"))
    if found.error is not None:
        lines.append(Line(f"the archive instrumented for tracing ended with an error: {found.error}", Tone.UNSURE))
    elif found.reproduced is False:
        lines.append(Line("the archive instrumented for tracing gave another answer than the run's", Tone.UNSURE))
    spent = ", ".join(f"{part} {taken:.1f} s" for part, taken in found.seconds.items())
    where = f"on {found.device}, {found.precision}"
    lines.append(Line(f"{where}; {spent}" if spent else where))
    return [*lines, *coverage_lines(found), Line(f"make it again: {explanation_reproduction(found)}")]


def coverage_lines(found: Explanation) -> list[Line]:
    """Return lines that count the compared calls, and the others by reason."""
    coverage = found.coverage
    lines = [Line(f"{coverage.compared} of {coverage.calls} calls of kernels were compared with PyTorch")]
    for why, calls in coverage.uncompared.items():
        kernels = _kernels(row for row in found.rows if row.own is None and row.uncompared == why)
        lines.append(Line(f"not compared, {calls}: the kernel {why}{f' ({kernels})' if kernels else ''}"))
    return lines


def _kernels(rows: Iterable[SiteRow]) -> str:
    names = list(dict.fromkeys(_shortened(row.kernel) for row in rows))
    return ", ".join([*names[:MOST_KERNELS], *(["…"] if len(names) > MOST_KERNELS else [])])


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _shown(rows: Sequence[SiteRow], first: SiteRow | None) -> list[SiteRow]:
    if first is not None and first in rows:
        at = rows.index(first)
        begin = max(0, at - MOST // 4)
        return list(rows[begin : begin + MOST])
    worst = sorted(rows, key=lambda row: -(row.own.times_allowed if row.own else 0.0))[:MOST]
    return [row for row in rows if row in worst]


def _row(row: SiteRow, first: SiteRow | None) -> list[str]:
    own = row.own
    if own is None:
        return [row.place, row.module, row.kernel, *[DASH] * 6]
    return [
        f"{'→ ' if row is first else ''}{row.place}",
        row.module,
        operation_text(row),
        "not finite" if own.largest is None else f"{own.largest:.2g}",
        DASH if own.relative is None else f"{own.relative:.2g}",
        DASH if own.cosine is None else f"{own.cosine:.7f}",
        DASH if own.snr is None else f"{own.snr:.0f}",
        _times(own),
        DASH if row.whole is None else _times(row.whole),
    ]


def _times(error: Error) -> str:
    times = error.times_allowed
    return "∞" if times == float("inf") else f"{times:.2g}"


def _token(value: int | None) -> str:
    return "none" if value is None else f"token {value}"
