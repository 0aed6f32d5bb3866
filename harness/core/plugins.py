"""Find what installed packages register by entry point."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint


def entries(group: str) -> list[EntryPoint]:
    """Return a group's entry points by their names. A package that is on the path twice offers each once."""
    found = {(entry.name, entry.value): entry for entry in importlib.metadata.entry_points(group=group)}
    return [found[key] for key in sorted(found)]
