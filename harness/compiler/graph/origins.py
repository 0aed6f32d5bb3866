"""Keep origins: the operators of the exported graph for which a value of the Relax function stands.

TVM 0.27 loses such facts, because spans vanish when operators are lowered. But its passes keep variables, so origins
are kept beside the module, by variable. Our own passes make new variables and note their origins. Values that TVM makes
on its way have no entry; they belong to the value that uses them.
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
    """Hold an origin.

    ``operators`` are their numbers; ``value`` is the operator whose result the value is, if there is one.
    """

    operators: frozenset[int]
    value: int | None = None


NOWHERE = Origin(frozenset())


@dataclass
class Origins:
    """Hold the origins in one function. ``operators`` are in the graph's order."""

    operators: list[Operator] = field(default_factory=list)
    _known: dict[Any, Origin] = field(default_factory=dict)

    def of(self, var: Any) -> Origin:
        return self._known.get(var, NOWHERE)

    def note(self, var: Any, origin: Origin) -> None:
        """Note the origin of a variable.

        A variable may be the result of several operators, such as a view of the same shape or a conversion to its own
        type. It then stands for all of them.
        """
        if not is_variable(var) or not origin.operators:
            return
        known = self.of(var)
        value = origin.value if known.value is None else known.value
        self._known[var] = Origin(known.operators | origin.operators, value)

    def union(self, variables: Iterable[Any]) -> frozenset[int]:
        return frozenset().union(*(self.of(var).operators for var in variables))


def behind(graph: Graph, ends: Iterable[Any], until: Iterable[Any]) -> set[Any]:
    """Return the variables that are computed on the way from ``until``, exclusive, to ``ends``, inclusive."""
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
    """Return the origins of all variables of a function.

    A variable without an entry has the origins of the values that use it. At the function's end it has the origins of
    its inputs instead.
    """
    found = {binding.var: origins.of(binding.var) for binding in graph.bindings}
    for binding in reversed(graph.bindings):
        mine = found[binding.var]
        for var in arguments(binding.value):
            # This goes only up to an operator with an entry: its inputs have origins of their own, or are parameters.
            if var in found and not origins.of(var).operators:
                found[var] = Origin(found[var].operators | mine.operators)
    for binding in graph.bindings:
        if not found[binding.var].operators:
            before = [found[var].operators for var in arguments(binding.value) if var in found]
            found[binding.var] = Origin(frozenset().union(*before))
    return found


def origin_of(graph: Graph, value: Any, known: dict[Any, Origin]) -> Origin:
    """Return the origin of a variable, also of one that only renames another."""
    found = graph.definitions.get(value)
    return origin_of(graph, found, known) if is_variable(found) else known.get(value, NOWHERE)


def result_origin(graph: Graph, var: Any, known: dict[Any, Origin]) -> Origin:
    """Return the origin of a call: its own, and those of the fields of its result."""
    fields = [
        known[binding.var]
        for binding in graph.bindings
        if isinstance(binding.value, relax.TupleGetItem) and binding.value.tuple_value.same_as(var)
    ]
    operators = known[var].operators.union(*(origin.operators for origin in fields))
    values = {origin.value for origin in [known[var], *fields]} - {None}
    return Origin(operators, values.pop() if len(values) == 1 else None)
