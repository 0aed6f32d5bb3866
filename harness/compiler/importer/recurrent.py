"""Import torch's recurrent layers as fused operators, for sequences of any length.

TVM 0.27's importer unrolls every step, accepts only one layer and no dynamic length, and returns all states although
the model wants the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.kernels.recurrence import Cell, Recurrence, Result
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.recurrence import RecurrenceOp


def recurrent_layer(node: fx.Node, importer: Any, table: OpTable) -> tuple[Any, ...]:
    """Convert :func:`harness.compiler.importer.recurrent_op.recurrent`."""

    def value(argument: Any) -> Any:
        if isinstance(argument, list | tuple):
            return [value(one) for one in argument]
        return importer.env[argument] if isinstance(argument, fx.Node) else argument

    return _Stack(table, importer.block_builder, *(value(argument) for argument in node.args)).run()


class _Stack:
    """Import all layers of one operator, each in one or both directions."""

    def __init__(
        self,
        table: OpTable,
        builder: relax.BlockBuilder,
        x: Any,
        initial: list[Any],
        weights: list[Any],
        cell: Cell,
        bias: bool,
        layers: int,
        both: bool,
        batch_first: bool,
    ) -> None:
        self.table, self.builder, self.cell, self.x, self.initial = table, builder, cell, x, initial
        self.layers, self.directions, self.batch_first = layers, 2 if both else 1, batch_first
        count = 4 if bias else 2
        self.weights = [weights[at : at + count] for at in range(0, len(weights), count)]

    def run(self) -> tuple[Any, ...]:
        """Emit all layers; return the last one's states, and every layer's last state (and cells)."""
        x = self.x
        last: list[list[Any]] = [[] for _ in self.initial]
        for layer in range(self.layers):
            found = []
            for direction in range(self.directions):
                states, *ends = self._direction(x, layer * self.directions + direction, reverse=direction == 1)
                found.append(states)
                for into, end in zip(last, ends, strict=True):
                    into.append(end)
            x = found[0] if len(found) == 1 else self.builder.emit(relax.op.concat(found, axis=2))
        return (x, *(self._stacked(ends) for ends in last))

    def _stacked(self, ends: list[Any]) -> relax.Var:
        """Stack without relax.op.stack, whose rule for other layouts fails in TVM 0.27 after a convolution."""
        rows = [self.builder.emit(relax.op.expand_dims(end, 0)) for end in ends]
        return rows[0] if len(rows) == 1 else self.builder.emit(relax.op.concat(rows, axis=0))

    def _direction(self, x: Any, at: int, *, reverse: bool) -> Iterator[Any]:
        """Yield all states, then the last ones (and the last cells)."""
        emit = self.builder.emit
        given, own, *biases = self.weights[at]
        gates = emit(relax.op.matmul(x, emit(relax.op.permute_dims(given))))
        if biases:
            gates = emit(relax.op.add(gates, biases[0]))
        starts = [emit(relax.op.take(start, relax.const(at, "int64"), axis=0)) for start in self.initial]
        width = int(own.ty.shape.values[1])
        args = [gates, *starts, emit(relax.op.permute_dims(own)), *biases[1:]]
        ty = relax.TensorType([*gates.ty.shape.values[:2], width], "float32")
        results: tuple[Result, ...] = ("states", "cells") if self.cell == "lstm" else ("states",)
        for number, result in enumerate(results):
            layer = Recurrence(self.cell, width, bool(biases), reverse, self.batch_first, result)
            values = emit(self.table.call(RecurrenceOp(layer), args, ty))
            if number == 0:
                yield values
            yield self._end(values, reverse=reverse)

    def _end(self, values: Any, *, reverse: bool) -> Any:
        """Take the values at the sequence's end."""
        axis = 1 if self.batch_first else 0
        if reverse:
            place = relax.const(0, "int64")
        else:
            length = self.builder.emit(relax.op.shape_to_tensor(relax.ShapeExpr([values.ty.shape.values[axis]])))
            last = self.builder.emit(relax.op.subtract(length, relax.const(1, "int64")))
            place = self.builder.emit(relax.op.squeeze(last))
        return self.builder.emit(relax.op.take(values, place, axis=axis))
