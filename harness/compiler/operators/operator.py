"""Define the fused operator: its attributes, the pattern that finds it, and its lowering to a kernel.

In a graph, a fused operator is a pure call of an external function named after its class. The call's first argument is
the operator's number in the module's :class:`OpTable`. FusePatterns puts such calls into the graph, and PackWeights
takes them out again. A call that is left behind is an error with the operator's name in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import tvm
from torch import fx
from tvm import relax

from harness.compiler.graph.graph import Array, Graph, extents
from harness.compiler.graph.origins import Origins
from harness.compiler.kernels.formats import Format
from harness.compiler.kernels.kernel import Dim, Kernel
from harness.compiler.kernels.product import Product
from harness.compiler.observe.provenance import Operator, has_weights
from harness.compiler.targets.profiles import Profile
from harness.protocol.schema import Precision

NAMESPACE = "harness."
"""Begins the names of the external functions."""


class FusedOperator(ABC):
    """Define one operator that a kernel of ours computes; a subclass is a frozen dataclass of its attributes.

    Its docstring names the arguments of a call, in their order.
    """

    takes_int4: ClassVar[bool] = False
    """Whether its weights can have four bits; otherwise they have eight in an int4 model."""

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        """Look from ``value`` backwards for the pattern that ends there; return None if there is none.

        An operator that only the importer makes has no pattern.
        """
        return None

    @classmethod
    def converters(cls) -> Mapping[str, Converter]:
        """Return importer entries for the torch operators that are this one.

        They are by torch's names, such as ``store_memory.default``.
        """
        return {}

    @abstractmethod
    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        """Return the call of the operator's kernel in place of ``call``, with weights packed as the kernel reads them.

        ``args`` are the call's arguments; weights are constants among them.
        """


@dataclass(frozen=True)
class Match:
    """Hold a fused operator that replaces a value. Arguments are graph values, arrays, or matches themselves."""

    op: FusedOperator
    args: tuple[Argument, ...]
    ty: Any
    wrap: Callable[[Any], Any] | None = None
    """Turns the operator's result into the value that is replaced."""
    ends: tuple[Any, ...] = ()
    """The graph values that it computes if it is an argument of another operator: the columns of a merged product."""


Argument = Any
"""A value of the graph, a numpy array, or a :class:`Match`."""


@dataclass
class OpTable:
    """Hold the attributes of one module's fused operators; a call contains an index into them."""

    entries: list[FusedOperator] = field(default_factory=list)
    origins: Origins = field(default_factory=Origins)
    """The origins of the module's values."""

    computes: dict[int, frozenset[int]] = field(default_factory=dict)
    """The numbers of the exported graph's operators that FusePatterns put into each entry."""

    def call(self, op: FusedOperator, args: list[Any], ty: Any) -> Any:
        """Return a call of the operator, whose result has the type ``ty``."""
        self.entries.append(op)
        index = tvm.tirx.IntImm("int64", len(self.entries) - 1)
        return relax.call_pure_packed(f"{NAMESPACE}{type(op).__name__}", index, *args, ty_args=ty)

    def read(self, expression: Any) -> tuple[FusedOperator, list[Any]] | None:
        """Return the operator and its arguments if the expression is a fused operator's call."""
        if not isinstance(expression, relax.Call) or getattr(expression.op, "name", "") != "relax.call_pure_packed":
            return None
        function = expression.args[0]
        if not isinstance(function, relax.ExternFunc) or not str(function.global_symbol).startswith(NAMESPACE):
            return None
        return self.entries[int(expression.args[1])], list(expression.args[2:])

    def layers(self, call: relax.Call) -> list[Operator]:
        """Return the exported graph's operators with weights that a fused operator's call computes."""
        numbers = sorted(self.computes.get(int(call.args[1]), ()))
        return [one for one in (self.origins.operators[number] for number in numbers) if has_weights(one)]


Converter = Callable[[fx.Node, Any, OpTable], Any]
"""(node of the exported graph, TVM's importer, table) to the node's value in Relax."""


class Lowering(Protocol):
    """Declare what PackWeights offers to :meth:`FusedOperator.lower`."""

    profile: Profile
    precision: Precision

    wide_activations: bool
    """Whether the operator's int8 activations keep 15 bits."""

    shared_panels: bool
    """Whether products of one row read the panels of many, because another function has the same weights."""

    int4_group: int
    """How many inputs share a scale of int4 weights."""

    def rounded(self, weight: Array) -> Array:
        """Return a weight [K, N] whose int8 rounding fits the operator's usual inputs, if they are known."""

    def packed(self, product: Product, weight: Array, arrays: list[Array], form: Format) -> None:
        """Note what became of a product's weight: ``arrays`` are those of ``pack_product``."""

    def call(self, kernel: Kernel, args: list[Any], ty: Any, in_place: list[int] | None = None) -> relax.Expr:
        """Return a call of the kernel. ``in_place`` is that of ``relax.op.call_tir_inplace``."""

    def emit(self, expression: Any) -> Any:
        """Bind an expression to a variable before the call."""


class Dims:
    """Name the extents that are known only when the function runs: one name for one expression."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def of(self, value: Any) -> tuple[Dim, ...]:
        """Return a tensor's extents in the form of a kernel's parameters."""
        shape = extents(value)
        assert shape is not None
        return tuple(e if isinstance(e, int) else self._names.setdefault(str(e), f"n{len(self._names)}") for e in shape)


def array(value: Any) -> Array:
    """Return a constant's array."""
    return value.value.numpy()


def values(node: fx.Node, importer: Any) -> list[Any]:
    """Return a node's positional arguments; a node among them is replaced by its imported value."""
    return [importer.env[argument] if isinstance(argument, fx.Node) else argument for argument in node.args]
