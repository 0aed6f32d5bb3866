"""Draw pictures of answers and sizes: accuracy by language, accuracy against latency, bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.figures import duration, rate
from harness.report.html.figure import GREY, Figure, height, log_axis, numbers
from harness.report.html.latency import MS
from harness.report.html.views import View
from harness.results.schema import AccuracySummary, WorkloadSummary

ALL, PYTORCH = "all", "pytorch"


def timed_variant(found: WorkloadSummary) -> str | None:
    """Return the variant whose answers represent the run: the timed one, else the first that was compared."""
    names = [name for name in found.accuracy if name != PYTORCH]
    return found.variant if found.variant in names else next(iter(names), None)


def _judged(views: Sequence[View]) -> Iterator[tuple[int, View, WorkloadSummary]]:
    """Yield the generation workloads of all runs, with the places of the runs."""
    for at, view in enumerate(views):
        for found in view.summary.alike.values():
            yield at, view, found


def _rows(views: Sequence[View]) -> list[tuple[str, int, dict[str, AccuracySummary]]]:
    """Return name, colour and accuracies: PyTorch of the first run that has it, then every run."""
    rows = []
    for _, view, found in _judged(views):
        if PYTORCH in found.accuracy:
            rows.append((f"PyTorch ({view.name})", GREY, found.accuracy[PYTORCH]))
            break
    for at, view, found in _judged(views):
        variant = timed_variant(found)
        if variant:
            rows.append((f"{view.name} {variant}", at, found.accuracy[variant]))
    return rows


def by_language(views: Sequence[View]) -> Figure | None:
    """Draw the PER for each language and run, the worst on top."""
    rows = _rows(views)
    if not rows:
        return None
    found = {language for _, _, by in rows for language in by} - {ALL}
    worst = {language: max(by[language].per for _, _, by in rows if language in by) for language in found}
    languages = [ALL, *sorted(found, key=lambda language: (worst[language], language))]
    runs = sum(color != GREY for _, color, _ in rows)
    traces = []
    for name, color, by in rows:
        shown = [at for at, language in enumerate(languages) if language in by]
        # Runs with equal values would cover each other. PyTorch's ring stays in the middle.
        aside = 0.0 if color == GREY or runs == 1 else 0.5 * (0.5 - color / (len(views) - 1))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": numbers([by[languages[at]].per for at in shown], 4),
                "y": numbers([at + aside for at in shown], 4),
                "text": [languages[at] for at in shown],
                "customdata": [[by[languages[at]].items, by[languages[at]].wer] for at in shown],
                "marker": {
                    "size": 13 if color == GREY else 8,
                    "symbol": "circle-open" if color == GREY else "circle",
                    "line": {"width": 2 if color == GREY else 0},
                },
                "hovertemplate": "%{text}: PER %{x:.3f}, WER %{customdata[1]:.3f}, %{customdata[0]} words"
                "<extra>%{fullData.name}</extra>",
                "meta": {"series": color},
            }
        )
    top = max(max(worst.values(), default=0.0), 0.01)
    total = "; ".join(f"{name}: {rate(by[ALL].per)}" for name, _, by in rows if ALL in by)
    return Figure(
        title="Phoneme error rate by language",
        summary=f"PER over all words: {total}.",
        traces=traces,
        layout={
            "height": height(len(languages), 26, 110),
            "xaxis": {"title": {"text": "PER"}, "range": [-0.03 * top, 1.06 * top], "zeroline": False},
            "yaxis": {
                "tickvals": list(range(len(languages))),
                "ticktext": languages,
                "range": [-0.7, len(languages) - 0.3],
                "zeroline": False,
            },
            "showlegend": True,
        },
        note="Phoneme edits per gold phoneme. A run's point is level with PyTorch's ring where both do equally well.",
        columns={"x": "per", "text": "language", "name": "run"},
    )


SIDES = ("top left", "bottom center", "top right")
"""The positions of names, taken in turn, so that the names of three neighbours do not cover each other."""


def against_latency(views: Sequence[View]) -> Figure | None:
    """Draw accuracy against latency, without emulated runs."""
    points: list[tuple[float, float, str, int]] = []
    for at, view, found in _judged(views):
        variant = timed_variant(found)
        ours = _times(found)[0]
        if not view.emulated and ours and variant and ALL in found.accuracy[variant]:
            name = f"{view.name} {variant}"
            points.append((ours / MS, found.accuracy[variant][ALL].per, name, at))
    for _, view, found in _judged(views):
        expected = found.accuracy.get(PYTORCH, {}).get(ALL)
        theirs = _times(found)[1]
        if not view.emulated and theirs and expected:
            place = (theirs / MS, expected.per)
            # Runs that share one measurement of PyTorch share its point.
            if place not in [(ms, per) for ms, per, _, _ in points]:
                points.append((*place, f"PyTorch ({view.name})", GREY))
    if len(points) < 2:
        return None
    times = [ms for ms, _, _, _ in points]
    top = max(per for _, per, _, _ in points)
    placed = enumerate(sorted(points))
    return Figure(
        title="Accuracy against latency",
        summary="; ".join(f"{name}: PER {rate(per)} at {duration(ms * MS)}" for ms, per, name, _ in points) + ".",
        traces=[_dot(*point, side=SIDES[turn % len(SIDES)]) for turn, point in placed],
        layout={
            "height": 400,
            "xaxis": log_axis(min(times) / 1.4, max(times) * 1.4, "time per word, ms (logarithmic)"),
            "yaxis": {"title": {"text": "PER, all words"}, "range": [0, max(top * 1.25, 0.01)]},
        },
        note="Better is lower and further left. The time is the geometric mean over the words that both sides ran "
        "alternately; of a run without them it is the median over all words.",
        columns={"x": "median_ms", "y": "per", "name": "run"},
    )


def _times(found: WorkloadSummary) -> tuple[float | None, float | None]:
    """Return the times of the artifact and of PyTorch over the same items, in nanoseconds.

    A time that is not known well enough is None.
    """
    if (ratio := found.ratio) and ratio.artifact and ratio.pytorch:
        return ratio.artifact, ratio.pytorch if ratio.conclusive else None
    ours, theirs = (side.median if side else None for side in (found.warm, found.pytorch))
    return ours, theirs


def _dot(ms: float, per: float, name: str, color: int, *, side: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": name,
        "x": numbers([ms]),
        "y": numbers([per]),
        "text": [name],
        "textposition": side,
        "marker": {"size": 12, "symbol": "circle" if color != GREY else "circle-open", "line": {"width": 2}},
        "hovertemplate": "%{x:.3f} ms, PER %{y:.4f}<extra>%{fullData.name}</extra>",
        "meta": {"series": color},
    }


def sizes(views: Sequence[View]) -> Figure | None:
    """Draw the bytes of archives and runners, and the peak memory of each model that was not emulated."""
    bars = [bar for at, view in enumerate(views) for bar in _bars(view, at)]
    if not bars:
        return None
    # The first row is drawn at the bottom.
    kinds = sorted({kind for bar in bars for kind in bar.megabytes}, key=_from_below, reverse=True)
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": bar.name,
            "x": numbers(list(bar.megabytes.values())),
            "y": list(bar.megabytes),
            "text": [f"{value:.1f}" for value in bar.megabytes.values()],
            "textposition": "auto",
            "hovertemplate": "%{y}: %{x:.2f} MB<extra>" + bar.name + "</extra>",
            "meta": {"series": bar.color, "alpha": 1 if bar.timed else 0.45},
        }
        for bar in bars
    ]
    parts = (
        f"{bar.name}: " + ", ".join(f"{kind} {size:.1f} MB" for kind, size in bar.megabytes.items()) for bar in bars
    )
    emulated = " An emulator's is left out." if any(view.emulated for view in views) else ""
    return Figure(
        title="Size and memory",
        summary="; ".join(parts) + ".",
        traces=traces,
        layout={
            "height": height(len(kinds) * len(traces), 22, 120),
            "barmode": "group",
            "xaxis": {"title": {"text": "MB"}, "rangemode": "tozero"},
            "yaxis": {"type": "category", "showgrid": False, "categoryorder": "array", "categoryarray": kinds},
            "showlegend": len(traces) > 1,
        },
        note=f"MB are millions of bytes. Peak memory is that of the process that was timed.{emulated}",
        columns={"x": "MB", "y": "what", "name": "variant"},
    )


ARCHIVE, RUNNER, PEAK = "archive", "runner", "peak memory"


@dataclass(frozen=True)
class _Bars:
    """Hold the sizes of one compiled variant, and the peak memory of what was timed with it."""

    name: str
    color: int
    timed: bool
    megabytes: dict[str, float]


def _bars(view: View, color: int) -> Iterator[_Bars]:
    workloads = view.summary.workloads
    variants = (found.variant for found in workloads.values() if found.variant)
    timed = next(variants, next(iter(view.manifest.variants), None))
    # With several workloads the name must include the workload.
    alone = len(view.manifest.workloads) == 1 and bool(view.generations)
    peaks = {
        PEAK if alone else f"{PEAK}, {name}": found.peak_bytes
        for name, found in workloads.items()
        if not found.way.alike or found.warm
    }
    for name, facts in view.manifest.variants.items():
        sizes: dict[str, int | None] = {
            ARCHIVE: facts.archive_bytes,
            RUNNER: facts.runner_bytes if facts.has_runner else None,
        }
        sizes |= peaks if name == timed and not view.emulated else {}
        # A runner of tensor workloads alone contains no variant, whatever its name is.
        label = f"{view.name} {name}" if view.generations else view.name
        known = {kind: size / 1e6 for kind, size in sizes.items() if size is not None}
        yield _Bars(label, color, name == timed, known)


def _from_below(kind: str) -> tuple[int, str]:
    return (ARCHIVE, RUNNER).index(kind) if kind in (ARCHIVE, RUNNER) else 2, kind
