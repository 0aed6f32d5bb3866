"""Choose a fixed sample of items, spread over their kinds and sizes. It is the same every time, without chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples fall evenly into the unit interval, however many are taken (Knuth, TAOCP volume 3, 6.4)."""


def spread_order(items: Sequence[tuple[str, int]]) -> list[int]:
    """Return all items' numbers in such an order that every prefix is spread; items are given as (kind, size).

    The kinds take turns, by name. Within a kind sizes are visited at even distances, with another start in each kind.
    """
    kinds: dict[str, list[int]] = {}
    for at, (kind, _) in sorted(enumerate(items), key=lambda one: (one[1], one[0])):
        kinds.setdefault(kind, []).append(at)
    turns = [_visits(ordered, number) for number, ordered in enumerate(kinds.values())]
    return [at for turn in zip_longest(*turns) for at in turn if at is not None]


def _visits(ordered: list[int], number: int) -> list[int]:
    """Return all of ``ordered``, which is sorted by size, in the order of visits."""
    left, found = list(ordered), list[int]()
    while left:
        place = (0.5 + (number + len(found)) * GOLDEN) % 1
        wanted = int(place * len(ordered))
        nearest = min(left, key=lambda at: (abs(ordered.index(at) - wanted), ordered.index(at)))
        left.remove(nearest)
        found.append(nearest)
    return found
