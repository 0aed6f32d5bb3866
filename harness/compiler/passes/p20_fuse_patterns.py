"""FusePatterns: replace the patterns of :mod:`harness.compiler.operators` by fused operators.

Patterns are looked up from a function's results backwards, each from its last operation. Operations in no pattern are
lowered by TVM and scheduled by ScheduleRest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from harness.compiler.graph.graph import Graph, arguments, is_variable, op_name, renamed, rewrite_functions
from harness.compiler.graph.origins import Origin, behind, completed, origin_of
from harness.compiler.operators import operators
from harness.compiler.operators.operator import Match, OpTable


@tvm.transform.module_pass(opt_level=0, name="FusePatterns")
class FusePatterns:
    """Rewrite every Relax function. The operators' attributes go into ``table``."""

    def __init__(self, table: OpTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        return rewrite_functions(module, lambda function: _rewritten(function, self.table))


def _rewritten(function: relax.Function, table: OpTable) -> relax.Function:
    graph = Graph(function)
    origins = table.origins
    whole = completed(graph, origins)
    matches, needed = _match(graph, table)
    builder = relax.BlockBuilder()
    new: dict[Any, Any] = {}
    with builder.function("main", list(function.params), attrs=dict(function.attrs or {})):
        with builder.dataflow():
            for binding in graph.bindings:
                if binding.var not in needed:
                    continue
                if _changes_nothing(binding.value):
                    new[binding.var] = renamed(binding.value.args[0], new)
                    continue
                match = matches.get(binding.var)
                if match is None:
                    new[binding.var] = builder.emit(renamed(binding.value, new))
                    origins.note(new[binding.var], whole[binding.var])
                    continue
                inside = replace(match, ends=(binding.var,))
                new[binding.var] = builder.emit(_emit(graph, inside, builder, table, new))
                origins.note(new[binding.var], Origin(origins.union(_inside(graph, inside)), whole[binding.var].value))
            output = builder.emit_output(renamed(graph.result, new))
            # TVM drops a variable that only renames another.
            origins.note(output, origin_of(graph, graph.result, whole))
        builder.emit_func_output(output)
    return builder.get()["main"]


def _changes_nothing(expression: Any) -> bool:
    """Return whether an expression converts a tensor to its own type."""
    return op_name(expression) == "relax.astype" and expression.args[0].ty.dtype == expression.ty.dtype


def _match(graph: Graph, table: OpTable) -> tuple[dict[Any, Match], set[Any]]:
    """Return the match that computes each value, and all values that are still computed."""
    needed = set(arguments(graph.result))
    patterns = [operator.match for operator in operators()]
    matches: dict[Any, Match] = {}
    for binding in reversed(graph.bindings):
        if binding.var not in needed:
            continue
        match = next((found for find in patterns if (found := find(graph, binding.var, table)) is not None), None)
        if match is None:
            needed.update(arguments(binding.value))
        else:
            matches[binding.var] = match
            needed.update(_inputs(match))
    return matches, needed


def _inputs(fused: Match) -> set[Any]:
    found: set[Any] = set()
    for argument in fused.args:
        if isinstance(argument, Match):
            found |= _inputs(argument)
        elif not isinstance(argument, np.ndarray):
            found.update(arguments(argument))
    return found


def _inside(graph: Graph, fused: Match) -> set[Any]:
    """Return the graph's values that a fused operator computes, without those that its arguments compute."""
    found = behind(graph, fused.ends, _inputs(fused))
    for argument in fused.args:
        if isinstance(argument, Match):
            found -= behind(graph, argument.ends, _inputs(argument))
    return found


def _emit(graph: Graph, fused: Match, builder: relax.BlockBuilder, table: OpTable, new: dict[Any, Any]) -> Any:
    args = []
    for argument in fused.args:
        if isinstance(argument, Match):
            made = builder.emit(_emit(graph, argument, builder, table, new))
            table.origins.note(made, Origin(table.origins.union(_inside(graph, argument))))
            args.append(made)
        elif isinstance(argument, np.ndarray):
            args.append(relax.const(np.asarray(argument, order="C"), str(argument.dtype)))
        else:
            args.append(_emit_operators(argument, builder, new))
    result = table.call(fused.op, args, fused.ty)
    table.computes[len(table.entries) - 1] = table.origins.union(_inside(graph, fused))
    return result if fused.wrap is None else fused.wrap(builder.emit(result))


def _emit_operators(expression: Any, builder: relax.BlockBuilder, new: dict[Any, Any]) -> Any:
    """Emit an expression of a match, with a variable for each of its operators."""
    if isinstance(expression, relax.Call) and any(isinstance(argument, relax.Call) for argument in expression.args):
        args = [_emit_operators(a, builder, new) if isinstance(a, relax.Call) else a for a in expression.args]
        expression = relax.Call(expression.op, args, expression.attrs, expression.ty_args)
    value = renamed(expression, new)
    return value if is_variable(value) else builder.emit(value)
