"""The operators that FusePatterns puts into a graph and PackWeights takes out again.

In the graph each is a pure call of an external function named after its class, whose first argument is the
operator's number in the module's :class:`OpTable`; one that were left behind would be an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from harness.compiler.graph.graph import Graph
from harness.compiler.graph.origins import Origins
from harness.compiler.kernels.attention_rows import Side
from harness.compiler.kernels.product import Product
from harness.compiler.kernels.recurrence import Recurrence


@dataclass(frozen=True)
class ProductOp:
    """args: x, residual (if any), gain and shift (of a norm), weight [K, N], bias [N] (if any)."""

    product: Product


@dataclass(frozen=True)
class NormOp:
    """args: x, gain, shift (of a layer norm)."""

    norm: str
    eps: float


@dataclass(frozen=True)
class AttentionOp:
    """args: the sides' tensors, each once; bias (if any). ``sides`` say where queries, keys, values lie."""

    heads: int
    size: int
    scale: float
    sides: tuple[Side, Side, Side]
    has_bias: bool


@dataclass(frozen=True)
class EmbeddingOp:
    """args: ids, table [V, D]."""


@dataclass(frozen=True)
class ArgmaxOp:
    """args: x [..., V]."""


@dataclass(frozen=True)
class BatchProductOp:
    """args: a [..., M, K], b [..., K, N], both activations."""


@dataclass(frozen=True)
class AppendAndAttendOp:
    """args: qkv, distance_bias, rows, position, cache; returns the context and the cache."""

    layer: int
    heads: int


@dataclass(frozen=True)
class AttendMemoryOp:
    """args: query, rows, lengths, memory."""

    layer: int
    heads: int


@dataclass(frozen=True)
class StoreMemoryOp:
    """args: source [B, S, L, 2, G]; returns memory [B, L, 2, capacity * G]."""

    heads: int


@dataclass(frozen=True)
class DotAttentionOp:
    """args: query, key, value [B, H, S, K], mask (if any): torch's scaled_dot_product_attention."""

    scale: float


@dataclass(frozen=True)
class RecurrenceOp:
    """args: the gates' share of the input [S, B, G * H], state [B, H], cells (of an LSTM), weight [H, G * H], bias
    [G * H] (if any)."""

    layer: Recurrence


FusedOp = (
    ProductOp
    | NormOp
    | AttentionOp
    | EmbeddingOp
    | ArgmaxOp
    | BatchProductOp
    | AppendAndAttendOp
    | AttendMemoryOp
    | StoreMemoryOp
    | DotAttentionOp
    | RecurrenceOp
)
_KINDS = {
    f"harness.{kind.__name__}": kind
    for kind in (
        ProductOp,
        NormOp,
        AttentionOp,
        EmbeddingOp,
        ArgmaxOp,
        BatchProductOp,
        AppendAndAttendOp,
        AttendMemoryOp,
        StoreMemoryOp,
        DotAttentionOp,
        RecurrenceOp,
    )
}


@dataclass
class OpTable:
    """The attributes of the fused operators of one module: a call carries an index into it."""

    entries: list[FusedOp] = field(default_factory=list)
    origins: Origins = field(default_factory=Origins)
    """Of the module's values."""

    def call(self, op: FusedOp, args: list[Any], ty: Any) -> Any:
        self.entries.append(op)
        name = f"harness.{type(op).__name__}"
        index = tvm.tirx.IntImm("int64", len(self.entries) - 1)
        return relax.call_pure_packed(name, index, *args, ty_args=ty)

    def read(self, expression: Any) -> tuple[FusedOp, list[Any]] | None:
        """The operator and its arguments, if the expression is a fused operator's call."""
        if not isinstance(expression, relax.Call) or getattr(expression.op, "name", "") != "relax.call_pure_packed":
            return None
        function = expression.args[0]
        if not isinstance(function, relax.ExternFunc) or str(function.global_symbol) not in _KINDS:
            return None
        index = int(expression.args[1])
        return self.entries[index], list(expression.args[2:])


@dataclass(frozen=True)
class Fused:
    """A fused operator to emit in a value's place. Arguments are values of the graph, arrays, or fused themselves."""

    op: FusedOp
    args: tuple[Argument, ...]
    ty: Any
    wrap: Callable[[Any], Any] | None = None
    """What turns the operator's result into the value that is replaced."""
    ends: tuple[Any, ...] = ()
    """The graph's values that it computes, where it is an argument of another: the columns of a merged product."""


Argument = Any
"""A value of the graph, a numpy array, or a :class:`Fused`."""
Rule = Callable[[Graph, Any, OpTable], Fused | None]
"""Looks from a value backwards; None where its pattern is not there."""
