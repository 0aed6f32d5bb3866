"""FuseOpsWithOrigins: run TVM's fusion on operators that no pattern took, and keep the operators' origins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tvm
from tvm import relax

from harness.compiler.graph.graph import Graph, is_variable, op_name
from harness.compiler.graph.origins import NOWHERE, Origin, Origins, completed


@tvm.transform.module_pass(opt_level=0, name="FuseOpsWithOrigins")
class FuseOpsWithOrigins:
    """Run relax.transform.FuseOps and give each of its groups the origins of the group's operators.

    FuseOps makes one function of equal groups and new variables for its calls. So a value is identified here by the
    operator that computes it and the numbers of its arguments.
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
    """Number values, equal ones alike, across functions and modules."""

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
        """Yield the numbers of a binding's values: of the operators in the function that it calls, or its own."""
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
