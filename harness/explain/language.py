"""Refuse items of language models: nothing follows their layers yet."""

from __future__ import annotations

from typing import Any, NoReturn

from harness.explain.subject import Chosen, NothingToExplain
from harness.models.workload import Workload
from harness.run.builder import Builder


def refuse(chosen: Chosen, workload: Workload[Any], _builder: Builder) -> NoReturn:
    """Raise NothingToExplain, whatever the item is."""
    raise NothingToExplain(
        f"{workload.name} is a language model, whose layers `harness explain` does not follow yet ({chosen.item})",
        cure="its parity line has the first token that differs, with both margins (docs/generation.md)",
    )
