"""Choose which item of a run is explained: the named one, or the first that failed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.explain.subject import Chosen, NothingToExplain
from harness.results import ParityLine, Run
from harness.validate import Verdict

SEPARATOR = "/"
"""Separates a tensor workload and its item; no name contains it."""


def find_subject(run: Run, item: str | None) -> Chosen:
    """Return the item that ``item`` names: an id of generated text, such as a word's, or ``MODEL/ITEM``.

    None chooses the first generated text, or else the first tensor item, that failed or was not reached. Raises
    NothingToExplain.
    """
    if item is not None and SEPARATOR in item:
        return _named_item(run, item)
    manifest = run.manifest()
    generations = manifest.of_kind("generation")
    lines = list(run.parity())
    reference = [line for line in run.reference() if line.workload in generations]
    known = {line.item: at for at, line in enumerate(reference)}
    if item is not None and item not in known:
        shown = ", ".join(list(known)[:5])
        raise NothingToExplain(
            f"run {run.run_id} has no word {item!r}" + (f"; its words are {shown} …" if shown else ""),
            cure="name a word's id, or MODEL/ITEM for an item of another model; `harness show` lists what failed",
        )
    generated = [line for line in lines if line.workload in generations]
    mine = [line for line in generated if line.item in known and item in (None, line.item)]
    if item is not None:
        # Parity is judged for both variants; a named item means the variant that the run timed.
        timed = "cache" if manifest.options.get("use_kv_cache", True) else "cacheless"
        mine.sort(key=lambda line: line.variant != timed)
    failing = _failing(mine)
    if item is None and failing is None:
        found = _failing([line for line in lines if line.workload not in generations])
        if found is None:
            raise NothingToExplain(f"nothing of run {run.run_id} departs from PyTorch")
        return Chosen(found.workload, found.item, parity=found)
    line = failing or next(iter(mine), None)
    text = reference[: known[line.item if line is not None else str(item)] + 1]
    variant = "cache" if line is None else line.variant
    return Chosen(text[-1].workload, text[-1].item, variant, text, line)


def _named_item(run: Run, name: str) -> Chosen:
    workload, _, item = name.partition(SEPARATOR)
    known = run.manifest().of_kind("tensor")
    if workload not in known:
        raise NothingToExplain(f"run {run.run_id} has no model {workload!r}; it has {', '.join(known) or 'none'}")
    lines = [line for line in run.parity() if (line.workload, line.item) == (workload, item)]
    return Chosen(workload, item, parity=_failing(lines) or next(iter(lines), None))


def _failing(lines: Sequence[ParityLine]) -> ParityLine | None:
    """Return the first line that failed; if there is none, the first that was not reached."""
    failed = (line for line in lines if line.verdict.fails)
    missing = (line for line in lines if line.verdict is Verdict.MISSING)
    return next(failed, None) or next(missing, None)
