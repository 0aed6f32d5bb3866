"""Write what rivals.py measured as the Markdown tables of ``docs/performance.md``. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.rival_names import OURS, PYTORCH, TITLES
from benchmarks.rival_tables import Measured, fastest_rival, geometric_mean, number, ratio

Models = Mapping[str, Mapping[str, Measured]]


def markdown(models: Models, precision: str) -> str:
    """Return two tables: medians of every engine, and loads, memory and sizes of ours beside the leanest rival's."""
    return f"{times(models, precision)}\n{loads(models, precision)}"


def times(models: Models, precision: str) -> str:
    """Return the medians in ms, the fastest rival in bold, and our time over its: by medians, by fastest calls."""
    names = [name for name in TITLES if any(name in engines for engines in models.values())]
    rows = []
    for model, engines in models.items():
        rival = fastest_rival(engines, precision, "median")
        cells = []
        for name in names:
            one = engines.get(name)
            value = None if one is None or one.wrong(precision) else one.median_ms
            cells.append(f"**{number(value)}**" if rival and name == rival[0] else number(value))
        rows.append([model, *cells, *(number(ratio(engines, precision, by)) for by in ("median", "least"))])
    means = [geometric_mean(ratio(one, precision, by) for one in models.values()) for by in ("median", "least")]
    rows.append(["geometric mean", *("" for _ in names), *(number(mean) for mean in means)])
    return _table(["Model", *(TITLES[name] for name in names), "ratio", "of the least"], rows)


def loads(models: Models, precision: str) -> str:
    """Return our loads, memory and sizes beside the least memory and the smallest file of a rival."""
    rows = []
    for model, engines in models.items():
        ours = engines.get(OURS, Measured())
        rivals = {name: one for name, one in engines.items() if name != OURS and not one.wrong(precision)}
        memory = [(one.memory_bytes, name) for name, one in rivals.items() if one.memory_bytes is not None]
        sizes = [one.size_bytes for name, one in rivals.items() if name != PYTORCH and one.size_bytes is not None]
        leanest = f"{number(min(memory)[0] / 1e6)}, {TITLES[min(memory)[1]]}" if memory else "–"
        load = statistics.median(ours.load_ns) / 1e6 if ours.load_ns else None
        rows.append(
            [
                model,
                number(load),
                _mega(ours.memory_bytes),
                leanest,
                _mega(ours.size_bytes),
                _mega(min(sizes, default=None)),
            ]
        )
    titles = ["Model", "our load, ms", "our memory, MB", "leanest rival's", "our size, MB", "its model file, MB"]
    return _table(titles, rows)


def _mega(value: int | None) -> str:
    return number(None if value is None else value / 1e6)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = [f"| {' | '.join(titles)} |\n", "|" + "---|" * len(titles) + "\n"]
    return "".join([*heads, *(f"| {' | '.join(row)} |\n" for row in rows)])
