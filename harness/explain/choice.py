"""Which item of a run is explained: the one that was named, or the first that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from harness.explain.subject import NothingToExplain
from harness.explain.tensors import ChosenItem
from harness.explain.words import ChosenWord
from harness.results import ModelParityLine, ParityLine, Run
from harness.run.builder import Variant
from harness.validate import Verdict

SEPARATOR = "/"
"""Between a model of tensors and its item; no name holds one."""
_Line = TypeVar("_Line", ParityLine, ModelParityLine)


def find_subject(run: Run, item: str | None) -> ChosenWord | ChosenItem:
    """A word's id, or ``MODEL/ITEM``; None for the first word, then the first item, that failed or was not reached.

    Raises NothingToExplain.
    """
    if item is not None and SEPARATOR in item:
        return _named_item(run, item)
    lines = list(run.parity())
    reference = list(run.reference())
    known = {line.item: at for at, line in enumerate(reference)}
    if item is not None and item not in known:
        shown = ", ".join(list(known)[:5])
        raise NothingToExplain(
            f"run {run.run_id} has no word {item!r}" + (f"; its words are {shown} …" if shown else ""),
            cure="name a word's id, or MODEL/ITEM for an item of another model; `harness show` lists what failed",
        )
    mine = [line for line in lines if line.item in known and item in (None, line.item)]
    if item is not None:
        # Parity is judged for both variants; what was named is meant in the one that the run timed.
        timed: Variant = "cache" if run.manifest().options.get("use_kv_cache", True) else "cacheless"
        mine.sort(key=lambda line: _variant(line.comparison) != timed)
    failing = _failing(mine)
    if item is None and failing is None:
        found = _failing(list(run.model_parity()))
        if found is None:
            raise NothingToExplain(f"nothing of run {run.run_id} departs from PyTorch")
        return ChosenItem(found.model, found.item, found)
    line = failing or next(iter(mine), None)
    at = known[line.item if line is not None else str(item)]
    return ChosenWord("cache" if line is None else _variant(line.comparison), reference[at], reference[:at], line)


def _named_item(run: Run, name: str) -> ChosenItem:
    model, _, item = name.partition(SEPARATOR)
    known = run.manifest().models
    if model not in known:
        raise NothingToExplain(f"run {run.run_id} has no model {model!r}; it has {', '.join(known) or 'none'}")
    lines = [line for line in run.model_parity() if (line.model, line.item) == (model, item)]
    return ChosenItem(model, item, _failing(lines) or next(iter(lines), None))


def _failing(lines: Sequence[_Line]) -> _Line | None:
    """The first that failed; without one, the first that was not reached."""
    failed = (line for line in lines if line.verdict.fails)
    missing = (line for line in lines if line.verdict is Verdict.MISSING)
    return next(failed, None) or next(missing, None)


def _variant(comparison: str) -> Variant:
    return "cacheless" if comparison.startswith("cacheless") else "cache"
