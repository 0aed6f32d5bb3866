"""Choose which item of a run is explained: the named one, or the first that failed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.explain.subject import Chosen, NothingToExplain
from harness.results import ParityLine, ReferenceLine, Run
from harness.validate import Verdict

SEPARATOR = "/"
"""Separates a model and its item."""


def find_subject(run: Run, item: str | None) -> Chosen:
    """Return the item that ``item`` names: ``MODEL/ITEM``, or an id where the kind's items are named alone, as words.

    None chooses the first item that failed or was not reached; those that are named alone come first. Raises
    NothingToExplain.
    """
    manifest, reference, lines = run.manifest(), list(run.reference()), list(run.parity())
    alone = {name: facts for name, facts in manifest.workloads.items() if facts.way.named_alone}
    if item is None:
        firsts = (_failing([line for line in lines if (line.workload in alone) is own]) for own in (True, False))
        found = next(filter(None, firsts), None)
        if found is None:
            raise NothingToExplain(f"nothing of run {run.run_id} diverges from PyTorch")
        return _chosen(found.workload, found.item, found.variant, reference, found)
    workload, separator, name = item.partition(SEPARATOR) if SEPARATOR in item else ("", "", item)
    if separator and workload not in manifest.workloads:
        has = ", ".join(manifest.workloads) or "none"
        raise NothingToExplain(f"run {run.run_id} has no model {workload!r}; it has {has}")
    known = {line.item: line.workload for line in reversed(reference) if line.workload in alone}
    if not separator and name not in known:
        unit = next((facts.unit for facts in alone.values()), "item")
        shown = ", ".join([*reversed(known)][:5])
        raise NothingToExplain(
            f"run {run.run_id} has no {unit} {name!r}" + (f"; its {unit}s are {shown} …" if shown else ""),
            cure="name a word's id, or MODEL/ITEM for an item of another model; `harness show` lists what failed",
        )
    workload = workload or known[name]
    # Parity is judged for all variants; a named item means the variant that the run timed.
    variants = manifest.workloads[workload].way.variants
    timed = variants[not manifest.options.get("use_kv_cache", True)] if variants else ""
    mine = [line for line in lines if (line.workload, line.item) == (workload, name)]
    mine.sort(key=lambda line: line.variant != timed)
    parity = _failing(mine) or next(iter(mine), None)
    # An item that was not compared is explained in the usual variant.
    variant = "".join(variants[:1]) if parity is None else parity.variant
    return _chosen(workload, name, variant, reference, parity)


def _chosen(
    workload: str, item: str, variant: str, reference: Sequence[ReferenceLine], parity: ParityLine | None
) -> Chosen:
    return Chosen(
        workload, item, variant, up_to(item, [line for line in reference if line.workload == workload]), parity
    )


def up_to(item: str, lines: Sequence[ReferenceLine]) -> Sequence[ReferenceLine]:
    """Return a workload's lines up to an item; none if the item is not among them."""
    return lines[: next((at for at, line in enumerate(lines, 1) if line.item == item), 0)]


def _failing(lines: Sequence[ParityLine]) -> ParityLine | None:
    """Return the first line that failed; if there is none, the first that was not reached."""
    failed = (line for line in lines if line.verdict.fails)
    missing = (line for line in lines if line.verdict is Verdict.MISSING)
    return next(failed, None) or next(missing, None)
