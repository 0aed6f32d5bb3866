"""Origins: which operators of the exported graph a value of the Relax function stands for, from the import to the VM.

TVM 0.27 keeps no such thing (spans get lost when operators are lowered), but its passes keep variables. So what is
known of a variable is kept beside the module, under the variable's identity. Our own passes, which make new variables,
say what those stand for. What TVM makes new on its way has no entry of its own and belongs to whoever uses it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from harness.compiler.graph.graph import Graph, arguments, is_variable, op_name
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


def follow(before: Graph, after: Graph, origins: Origins, added: Collection[str]) -> None:
    """The origins of variables that a pass made anew, which did nothing but add operators ``added`` between others."""
    old, new = ([b for b in graph.bindings if _computes(b.value, added)] for graph in (before, after))
    if [op_name(b.value) for b in old] != [op_name(b.value) for b in new]:
        return
    for one, other in zip(old, new, strict=True):
        if not origins.of(other.var).operators:
            origins.note(other.var, origins.of(one.var))


def _computes(value: Any, added: Collection[str]) -> bool:
    return not is_variable(value) and op_name(value) not in added


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


@tvm.transform.module_pass(opt_level=0, name="FuseOpsWithOrigins")
class FuseOpsWithOrigins:
    """relax.transform.FuseOps, of whose groups each has the origins of its operators.

    FuseOps gives equal groups one function and its calls new variables, so that here values are told by what they
    are computed from: an operator and the numbers of its arguments.
    """

    def __init__(self, origins: Origins) -> None:
        self.origins = origins

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        before = module["main"]
        numbers = _Numbers()
        known: dict[int, Origin] = {}
        graph = Graph(before)
        for binding, origin in zip(graph.bindings, completed(graph, self.origins).values(), strict=True):
            number = numbers.of(binding)
            known[number] = Origin(known.get(number, NOWHERE).operators | origin.operators, origin.value)
        fused = relax.transform.FuseOps()(module)
        numbers.module = fused
        for param, old in zip(fused["main"].params, before.params, strict=True):
            numbers.alias(param, old)
        for binding in Graph(fused["main"]).bindings:
            made = list(numbers.within(binding))
            operators = frozenset().union(*(known.get(number, NOWHERE).operators for number in made))
            last = known.get(numbers.of(binding), NOWHERE)
            self.origins.note(binding.var, Origin(operators, last.value))
            if is_variable(binding.value):
                self.origins.note(binding.var, self.origins.of(binding.value))
        return fused


class _Numbers:
    """Equal values have equal numbers, across functions and modules."""

    def __init__(self) -> None:
        self.module: tvm.IRModule | None = None
        self._numbers: dict[Any, int] = {}
        self._values: dict[Any, int] = {}
        self._made: dict[int, list[int]] = {}

    def alias(self, var: Any, other: Any) -> None:
        self._values[var] = self._value(other, {})

    def of(self, binding: Any) -> int:
        if binding.var not in self._values:
            self._values[binding.var] = self._expression(binding.value, self._values)[0]
        return self._values[binding.var]

    def within(self, binding: Any) -> Iterator[int]:
        """The numbers of what a binding computes: of the operators in the function it calls, or its own."""
        number, made = self._expression(binding.value, self._values)
        self._values[binding.var] = number
        yield from made or [number]

    def _expression(self, value: Any, known: dict[Any, int]) -> tuple[int, list[int]]:
        callee = self._group(value)
        if callee is None:
            return self._value(value, known), []
        inner = {p: self._value(a, known) for p, a in zip(callee.params, value.args, strict=True)}
        made: list[int] = []
        for block in callee.body.blocks:
            for binding in block.bindings:
                inner[binding.var], deeper = self._expression(binding.value, inner)
                made += deeper or [inner[binding.var]]
        return self._value(callee.body.body, inner), made

    def _group(self, value: Any) -> Any:
        if self.module is None or not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.GlobalVar):
            return None
        callee = self.module[value.op]
        return callee if isinstance(callee, relax.Function) else None

    def _value(self, value: Any, known: dict[Any, int]) -> int:
        return self._number(self._key(value, known))

    def _key(self, value: Any, known: dict[Any, int]) -> Any:
        if is_variable(value):
            return ("number", known[value]) if value in known else ("variable", value)
        if isinstance(value, relax.Tuple):
            return ("tuple", *(self._value(field, known) for field in value.fields))
        if isinstance(value, relax.TupleGetItem):
            return ("item", self._value(value.tuple_value, known), int(value.index))
        if isinstance(value, relax.Call):
            return ("call", _callee(value), *(self._value(argument, known) for argument in value.args))
        if isinstance(value, tvm.ir.GlobalVar | relax.ExternFunc):
            return ("function", str(value))
        if hasattr(value, "value") and hasattr(value.value, "numpy"):
            return ("constant", value)
        return ("other", str(value))

    def _number(self, key: Any) -> int:
        if key[0] == "number":
            number: int = key[1]
            return number
        return self._numbers.setdefault(key, len(self._numbers))


def _callee(call: Any) -> str:
    return op_name(call) or str(getattr(call.op, "name_hint", call.op))
