"""FusePatterns: find what our kernels do in one go in graphs that come from torch.export.

Patterns are looked up from their last operation backwards: a product with its residual, activation, gate, bias
and the norm in front of it; queries, keys and values of one input in one product; attention with its layout
operations; embedding; argmax. What is in no pattern is left to TVM's own lowering.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.errors import CannotCompile
from harness.compiler.graph.graph import Graph, arguments, extents, is_float32, is_variable, op_name, renamed
from harness.compiler.graph.origins import Origin, behind, completed, origin_of
from harness.compiler.operators.attention import attention
from harness.compiler.operators.operator import (
    ArgmaxOp,
    BatchProductOp,
    EmbeddingOp,
    Fused,
    NormOp,
    OpTable,
    ProductOp,
    RecurrenceOp,
    Rule,
)
from harness.compiler.operators.product import match_linear, match_norm


def product(graph: Graph, value: Any, _table: OpTable) -> Fused | None:
    found = match_linear(graph, value)
    if found is None:
        return None
    args = [found.x, *([found.residual] if found.residual is not None else []), *found.norm_args, found.weight]
    if found.bias is not None:
        args.append(found.bias)
    return Fused(ProductOp(found.product), tuple(args), value.ty)


def norm(graph: Graph, value: Any, _table: OpTable) -> Fused | None:
    found = match_norm(graph, value)
    if found is None or not is_float32(value):
        return None
    return Fused(NormOp(found.kind, found.eps), (found.x, *found.arrays), value.ty)


def embedding(graph: Graph, value: Any, _table: OpTable) -> Fused | None:
    call = graph.call(value, "relax.take")
    if call is None or call.attrs.axis is None or int(call.attrs.axis) != 0:
        return None
    table, ids = graph.constant(call.args[0]), call.args[1]
    if graph.is_fixed(ids):
        return None  # TVM folds it
    if table is None or table.ndim != 2 or table.dtype != np.float32 or extents(ids) is None:
        return None
    if str(ids.ty.dtype) not in ("int32", "int64"):
        return None
    return Fused(EmbeddingOp(), (ids, table), value.ty)


def argmax(graph: Graph, value: Any, _table: OpTable) -> Fused | None:
    """argmax over the last axis, with the conversion of torch's int64 to int32 where there is one."""
    call = graph.call(value, "relax.argmax", "relax.astype")
    if call is not None and op_name(call) == "relax.astype":
        call = graph.call(call.args[0], "relax.argmax")
    if call is None or call.attrs.keepdims or str(value.ty.dtype) not in ("int32", "int64"):
        return None
    x = call.args[0]
    shape = extents(x)
    axis = call.attrs.axis
    if shape is None or axis is None or int(axis) % len(shape) != len(shape) - 1 or not isinstance(shape[-1], int):
        return None
    return Fused(ArgmaxOp(), (x,), value.ty) if is_float32(x) else None


def batch_product(graph: Graph, value: Any, _table: OpTable) -> Fused | None:
    """A product of two activations with the same leading extents, of which some are known only when it runs.

    Where all are known, ScheduleRest makes better loops than a template of any size can have.
    """
    call = graph.call(value, "relax.matmul")
    if call is None or not is_float32(value):
        return None
    a, b = (extents(argument) for argument in call.args)
    if a is None or b is None or len(a) != len(b) or len(a) < 3 or all(isinstance(e, int) for e in (*a, *b)):
        return None
    same = all(structural_equal(x, y) for x, y in zip(a[:-2], b[:-2], strict=True))
    constant = any(graph.constant(argument) is not None for argument in call.args)
    return None if constant or not same else Fused(BatchProductOp(), tuple(call.args), value.ty)


def recurrence(graph: Graph, value: Any, table: OpTable) -> Fused | None:
    """A recurrent layer as the importer put it there, with its weights as they are."""
    op, args = table.read(graph.definition(value)) or (None, [])
    if not isinstance(op, RecurrenceOp):
        return None
    count = 3 if op.layer.has_cells else 2
    weights = [graph.constant(argument) for argument in args[count:]]
    if any(weight is None for weight in weights):
        raise CannotCompile(f"the weights of a recurrent layer of {op.layer.width} are computed by the model")
    return Fused(op, (*args[:count], *weights), value.ty)


RULES: tuple[Rule, ...] = (attention, recurrence, product, embedding, argmax, norm, batch_product)


@tvm.transform.module_pass(opt_level=0, name="FusePatterns")
class FusePatterns:
    """Rewrites every Relax function; the operators' attributes go into ``table``."""

    def __init__(self, table: OpTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                module.update_func(name, rewrite(function, self.table))
        return module


def rewrite(function: relax.Function, table: OpTable) -> relax.Function:
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
            # TVM gives a variable that is only another one's name that one's place.
            origins.note(output, origin_of(graph, graph.result, whole))
        builder.emit_func_output(output)
    return builder.get()["main"]


def _changes_nothing(expression: Any) -> bool:
    """A conversion to the type that a tensor has."""
    return op_name(expression) == "relax.astype" and expression.args[0].ty.dtype == expression.ty.dtype


def _match(graph: Graph, table: OpTable) -> tuple[dict[Any, Fused], set[Any]]:
    """From the result backwards: which values are still computed, and by which pattern."""
    needed = set(arguments(graph.result))
    matches: dict[Any, Fused] = {}
    for binding in reversed(graph.bindings):
        if binding.var not in needed:
            continue
        match = next((found for rule in RULES if (found := rule(graph, binding.var, table)) is not None), None)
        if match is None:
            needed.update(arguments(binding.value))
        else:
            matches[binding.var] = match
            needed.update(_inputs(match))
    return matches, needed


def _inputs(fused: Fused) -> set[Any]:
    found: set[Any] = set()
    for argument in fused.args:
        if isinstance(argument, Fused):
            found |= _inputs(argument)
        elif not isinstance(argument, np.ndarray):
            found.update(arguments(argument))
    return found


def _inside(graph: Graph, fused: Fused) -> set[Any]:
    """The graph's values that a fused operator computes, but for those that one of its arguments does."""
    found = behind(graph, fused.ends, _inputs(fused))
    for argument in fused.args:
        if isinstance(argument, Fused):
            found -= behind(graph, argument.ends, _inputs(argument))
    return found


def _emit(graph: Graph, fused: Fused, builder: relax.BlockBuilder, table: OpTable, new: dict[Any, Any]) -> Any:
    args = []
    for argument in fused.args:
        if isinstance(argument, Fused):
            made = builder.emit(_emit(graph, argument, builder, table, new))
            table.origins.note(made, Origin(table.origins.union(_inside(graph, argument))))
            args.append(made)
        elif isinstance(argument, np.ndarray):
            args.append(relax.const(np.asarray(argument, order="C")))
        else:
            args.append(_emit_operators(argument, builder, new))
    result = table.call(fused.op, args, fused.ty)
    return result if fused.wrap is None else fused.wrap(builder.emit(result))


def _emit_operators(expression: Any, builder: relax.BlockBuilder, new: dict[Any, Any]) -> Any:
    """The value of an expression of our own making, each operator of it bound to a variable."""
    if isinstance(expression, relax.Call) and any(isinstance(argument, relax.Call) for argument in expression.args):
        args = [_emit_operators(a, builder, new) if isinstance(a, relax.Call) else a for a in expression.args]
        expression = relax.Call(expression.op, args, expression.attrs, expression.ty_args)
    value = renamed(expression, new)
    return value if is_variable(value) else builder.emit(value)
