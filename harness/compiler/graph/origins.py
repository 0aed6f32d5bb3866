"""Origins: which operators of the exported graph a value of the Relax function stands for, from the import to the VM.

TVM 0.27 keeps no such thing (spans get lost when operators are lowered), but its passes keep variables. So what is
known of a variable is kept beside the module, under the variable's identity. Our own passes, which make new variables,
say what those stand for. What TVM makes new on its way has no entry of its own and belongs to whoever uses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tvm import relax

from harness.compiler.graph.graph import Graph, arguments, is_variable
from harness.compiler.observe.provenance import Operator


@dataclass(frozen=True)
class Origin:
    """``operators``: numbers; ``value``: the operator whose value it is, if it is one's."""

    operators: frozenset[int]
    value: int | None = None


NOWHERE = Origin(frozenset())


@dataclass
class Origins:
    """Of one function. ``operators`` are in the graph's order."""

    operators: list[Operator] = field(default_factory=list)
    _known: dict[Any, Origin] = field(default_factory=dict)

    def of(self, var: Any) -> Origin:
        return self._known.get(var, NOWHERE)

    def note(self, var: Any, origin: Origin) -> None:
        """What a variable stands for. A variable that is several operators' value (a view of the same shape, a
        conversion to its own type) stands for all of them."""
        if not is_variable(var) or not origin.operators:
            return
        known = self.of(var)
        value = origin.value if known.value is None else known.value
        self._known[var] = Origin(known.operators | origin.operators, value)

    def union(self, variables: Iterable[Any]) -> frozenset[int]:
        return frozenset().union(*(self.of(var).operators for var in variables))


def behind(graph: Graph, ends: Iterable[Any], until: Iterable[Any]) -> set[Any]:
    """The variables that are computed on the way to ``ends``, from ``until`` on, and neither of those nor before."""
    stop, found = set(until), set()
    left = [end for end in ends if is_variable(end)]
    while left:
        var = left.pop()
        if var in found or var in stop or var not in graph.definitions:
            continue
        found.add(var)
        left += arguments(graph.definitions[var])
    return found


def completed(graph: Graph, origins: Origins) -> dict[Any, Origin]:
    """The origins of a function's variables; those without an entry have that of who uses them, or at a function's end
    that of what they are made of."""
    found = {binding.var: origins.of(binding.var) for binding in graph.bindings}
    for binding in reversed(graph.bindings):
        mine = found[binding.var]
        for var in arguments(binding.value):
            # Not through an operator that is known: its inputs have origins of their own, or are parameters.
            if var in found and not origins.of(var).operators:
                found[var] = Origin(found[var].operators | mine.operators)
    for binding in graph.bindings:
        if not found[binding.var].operators:
            before = [found[var].operators for var in arguments(binding.value) if var in found]
            found[binding.var] = Origin(frozenset().union(*before))
    return found


def origin_of(graph: Graph, value: Any, known: dict[Any, Origin]) -> Origin:
    """Of a variable, also where it is only another one's name."""
    found = graph.definitions.get(value)
    return origin_of(graph, found, known) if is_variable(found) else known.get(value, NOWHERE)


def result_origin(graph: Graph, var: Any, known: dict[Any, Origin]) -> Origin:
    """Of a call: its own, and those of the fields of its result where it has several."""
    fields = [
        known[binding.var]
        for binding in graph.bindings
        if isinstance(binding.value, relax.TupleGetItem) and binding.value.tuple_value.same_as(var)
    ]
    operators = known[var].operators.union(*(origin.operators for origin in fields))
    values = {origin.value for origin in [known[var], *fields]} - {None}
    return Origin(operators, values.pop() if len(values) == 1 else None)
