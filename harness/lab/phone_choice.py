"""Choose phones of a lab for a client."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from harness.devices.errors import NoDevice
from harness.lab.selector import Selector
from harness.lab.wire import PROTOCOL, Card

_RANKS = {"free": 0, "resting": 1, "held": 2}


def usable(card: Card) -> bool:
    """Return whether the phone can be given to a client, now or later."""
    return card.state in _RANKS and card.protocol == PROTOCOL


def choose(cards: Sequence[Card], selector: Selector, count: int | None) -> list[Card]:
    """Return ``count`` phones that the selector matches, free ones first; all of them without a count.

    Raises NoDevice with the reasons.
    """
    matching = [card for card in cards if selector.matches(card.labels)]
    found = _by_rank([card for card in matching if usable(card)])
    wanted = len(found) if count is None else count
    if found and len(found) >= wanted:
        return found[:wanted]
    what = f"{selector.text!r} matches {len(matching)} of the lab's {len(cards)} phones"
    if len(matching) > len(found):
        others = "; ".join(f"{card.name} ({why_not(card)})" for card in matching if not usable(card))
        what += f", {len(found)} of them usable: {others}"
    raise NoDevice(f"{max(1, wanted)} wanted, and {what}", cure="`harness devices --lab` shows them with their labels")


def choose_equal(cards: Sequence[Card], lost: Card, bound: Collection[str]) -> Card | None:
    """Return a phone that can replace the lost one, None if there is none; one that this client has is left out."""
    found = [card for card in cards if card.name not in {*bound, lost.name} and usable(card) and lost.equal_to(card)]
    return _by_rank(found)[0] if found else None


def why_not(card: Card) -> str:
    """Return why a phone is not usable, in a few words."""
    if card.protocol != PROTOCOL:
        return f"its agent has harness {card.harness}, which speaks another protocol"
    return f"{card.state}: {card.reason}" if card.reason else card.state


def _by_rank(cards: Sequence[Card]) -> list[Card]:
    """Return free phones first; equal ones in any order, so that clients spread."""
    shuffled = random.sample(list(cards), len(cards))
    return sorted(shuffled, key=lambda card: (_RANKS[card.state], card.waiting))
