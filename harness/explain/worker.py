"""Ask PyTorch in a process of its own: ``python -m harness.explain.worker`` (see :mod:`harness.core.worker`)."""

from __future__ import annotations

import json
import logging
import math
import operator
import os
import pkgutil
import time
import warnings
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from harness.compiler import fast_tvm  # noqa: F401
from harness.compiler.importer.exporting import exported
from harness.compiler.observe.provenance import FunctionProvenance, Operator, Site, common_module, read_provenance
from harness.core.progress import Progress
from harness.core.worker import serve
from harness.explain.arrange import Arranged, read_site
from harness.explain.chain import Ready
from harness.explain.errors import allowed, distance
from harness.explain.reference import Arithmetic, Values
from harness.explain.rounding import Rounding
from harness.explain.schema import GIVEN, GIVEN_UP, Error, SiteRow
from harness.explain.taps import Tap, leaf_count, read_taps
from harness.models.functions import ModelFunctions
from harness.protocol.schema import Precision

Finding = dict[tuple[str, int], list[Tap]]


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the rows of all kernel calls with taps, and the number of planned calls.
    The request's ``folder`` will contain the taps.
    """
    progress("exporting the model's graphs")
    subject = _ready(request, progress)
    provenance = read_provenance(Path(request["provenance"]).parent)
    folder = Path(request["folder"])
    tokens = _awaited(folder)
    if tokens is None:
        return {"rows": [], "planned": 0}
    taps: Finding = {}
    for tap in read_taps(provenance, (folder / "taps").read_bytes()):
        taps.setdefault((tap.function, tap.call), []).append(tap)
    calls = [call for call in subject.calls if call in taps]
    comparison = Comparison(subject, request["precision"], tokens)
    rows: list[SiteRow] = []
    functions = {function.name: function for function in provenance.functions}
    for at, (function, call) in enumerate(calls):
        progress(f"comparing {function}, call {at + 1} of {len(calls)}")
        rows += comparison.compare(functions[function], call, taps[function, call])
    planned = sum(leaf_count(functions[function]) for function, _call in subject.calls)
    return {"rows": [row.model_dump() for row in rows], "planned": planned}


def _ready(request: dict[str, Any], progress: Progress) -> Ready:
    model: ModelFunctions = pkgutil.resolve_name(request["load"])(request["request"], request["precision"], progress)
    programs = {function.name: exported(function) for function in model.functions}
    rounding = Rounding.read(request["precision"], Path(request["provenance"]).parent)
    ready: Ready = pkgutil.resolve_name(request["ready"])(request, model, programs, rounding)
    return ready


def _awaited(folder: Path) -> list[int] | None:
    """Wait for the taps, then return the archive's tokens; None if nobody waits for the comparison any more."""
    while not (folder / GIVEN).exists():
        if (folder / GIVEN_UP).exists() or not folder.exists():
            return None
        time.sleep(0.05)
    tokens: list[int] = json.loads((folder / GIVEN).read_text(encoding="utf-8"))["tokens"]
    return tokens


class Comparison:
    """Run all arithmetics side by side, twice: from the item's own inputs, and on the device's values."""

    def __init__(self, subject: Ready, precision: Precision, tokens: list[int]) -> None:
        wanted = [Arithmetic.DOUBLE, Arithmetic.SINGLE]
        if precision != "fp32":
            wanted.append(Arithmetic.ROUNDED)
        self.programs = subject.programs
        self._whole = [subject.chain(one, tokens) for one in wanted]
        self._own = [subject.chain(one, tokens) for one in wanted]

    def compare(self, function: FunctionProvenance, call: int, taps: Sequence[Tap]) -> list[SiteRow]:
        """Return the rows of one call of a function."""
        graph = self.programs[function.name].graph
        whole = [chain.advance(function.name, call) for chain in self._whole]
        leaves = list(function.leaves())
        found = [read_site(function, tap.index, tap.outputs, graph, whole[0].own) for tap in taps]
        given = {name: value for one in found for name, value in one.values.items()}
        own = [chain.advance(function.name, call, given) for chain in self._own]
        rows = [
            _row(function, call, tap, leaves[tap.index], one, own, whole) for tap, one in zip(taps, found, strict=True)
        ]
        skipped = {name for row in rows if row.own is None for name in row.operators}
        return [_placed(row, one.values, graph, given, skipped) for row, one in zip(rows, found, strict=True)]


def _row(
    function: FunctionProvenance,
    call: int,
    tap: Tap,
    site: Site,
    found: Arranged,
    own: Sequence[Values],
    whole: Sequence[Values],
) -> SiteRow:
    operators = [function.operators[number] for number in site.operators]
    return SiteRow(
        function=function.name,
        call=call,
        index=tap.index,
        kernel=site.kernel,
        module=_module(operators),
        operators=[one.name for one in operators],
        shape=list(tap.outputs[0].shape) if tap.outputs else [],
        own=_error(found.values, own) if found.values else None,
        whole=_error(found.values, whole) if found.values else None,
        uncompared=found.why,
    )


def _placed(
    row: SiteRow, values: Mapping[str, Tensor], graph: fx.Graph, given: Mapping[str, Tensor], skipped: AbstractSet[str]
) -> SiteRow:
    """Return the row with its compared operation in the graph, and the ``skipped`` operators before it."""
    nodes = [node for node in graph.nodes if node.name in values]
    if not nodes:
        return row
    last = _operation(next(node for node in nodes if node.name == [*values][-1]))
    through = _computed_for(nodes, given)
    unseen = [name for name in through if name in skipped and name not in row.operators]
    return row.model_copy(update={"operation": last.name, "target": str(last.target), "unseen": unseen})


def _computed_for(nodes: Sequence[fx.Node], given: Mapping[str, Tensor]) -> list[str]:
    """Return the nodes that are computed for these, from the given values on."""
    found: set[fx.Node] = set()
    left = [*nodes]
    while left:
        before = {one for one in left.pop().all_input_nodes if one.name not in given} - found
        found |= before
        left += before
    return [node.name for node in nodes[0].graph.nodes if node in found]


def _operation(node: fx.Node) -> fx.Node:
    """Return the operator that computed a node; for a part of a value, the operator that computed the value."""
    source = node.args[0] if node.target is operator.getitem else node
    return source if isinstance(source, fx.Node) else node


def _module(operators: Sequence[Operator]) -> str:
    """Return the innermost module that contains all of a kernel's operators.
    If that is only the model itself, return the module of the last operator that has one.
    """
    inside = [one.module for one in operators if one.module]
    return common_module(operators) or (inside[-1] if inside else "")


def _error(values: Mapping[str, Tensor], runs: Sequence[Values]) -> Error:
    value = torch.cat([one.flatten() for one in values.values()])
    reference, *others = (torch.cat([run.own[name].flatten() for name in values]) for run in runs)
    found = distance(value.double(), reference.double())
    most = allowed(reference, *others)
    return Error(
        largest=_finite(found.largest),
        relative=_finite(found.relative),
        cosine=_finite(found.cosine),
        snr=_finite(found.snr),
        allowed=most,
        departs=found.largest > most,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
