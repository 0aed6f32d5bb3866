"""Define one direction of one recurrent layer, as the importer makes it from torch's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax

from harness.compiler.errors import CannotCompile
from harness.compiler.graph.graph import Graph
from harness.compiler.kernels.product import pack_product
from harness.compiler.kernels.recurrence import Recurrence, recurrence_kernel
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable, array


@dataclass(frozen=True)
class RecurrenceOp(FusedOperator):
    """Arguments: gates [S, B, G * H], state [B, H], cells (of an LSTM), weight [H, G * H], bias [G * H] (if any).

    The gates are their share of the input.
    """

    layer: Recurrence

    @property
    def activations(self) -> int:
        """Return the number of arguments before the weight."""
        return 3 if self.layer.has_cells else 2

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        """Find the importer's own call and replace its weights by their arrays. Raises CannotCompile."""
        op, args = table.read(graph.definition(value)) or (None, [])
        if not isinstance(op, cls):
            return None
        weights = [graph.constant(argument) for argument in args[op.activations :]]
        if any(weight is None for weight in weights):
            raise CannotCompile(f"the weights of a recurrent layer of {op.layer.width} are computed by the model")
        return Match(op, (*args[: op.activations], *weights), value.ty)

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        layer, count = self.layer, self.activations
        first, second, _ = Dims().of(args[0])
        kernel, form = recurrence_kernel(lowering.profile, lowering.precision, layer, (first, second))
        weight, bias = array(args[count]), array(args[count + 1]) if layer.bias else None
        arrays = pack_product(layer.product, weight, bias, form)
        lowering.packed(layer.product, weight, arrays, form)
        packed = [relax.const(packed) for packed in arrays]
        return lowering.call(kernel, [*args[:count], *packed], call.ty)
