"""Define the kernel as a value, and make the TIR function of its statements.

A kernel names its parameters and has a function that emits its statements over their buffers. The same statements serve
three times: as a function of their own, as one whose weights are in the archive's read-only data, and as a part of a
function that several kernels share (:mod:`harness.compiler.passes.p24_merge_kernels`). Statements are emitted through
TVM's IR builder, so that a template is plain Python: a Python loop unrolls, a Python condition selects at compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from harness.compiler.kernels.cost import Cost, CostOf, sizes
from harness.compiler.kernels.instrument import Instrumentation, emit
from harness.compiler.kernels.scratch import emit_with_scratch, measure_scratch
from harness.compiler.settings import EMITTED

Role = Literal["input", "weight", "inout", "output"]
Dim = int | str
Buffers = Mapping[str, Any]


@dataclass(frozen=True)
class Param:
    """Describe a tensor that a kernel reads or writes.

    A string is an extent that is known only when the kernel runs; equal names are equal extents. A ``weight`` is
    constant.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"
    role: Role = "input"


@dataclass(frozen=True)
class Kernel:
    """Hold a named template with everything decided: ``emit`` writes the statements for buffers by parameter name.

    Outputs come last, inputs and weights in the order that the caller gives them. The name contains everything on which
    the statements depend.
    """

    name: str
    params: tuple[Param, ...]
    emit: Callable[[Buffers], None]
    cost: CostOf | None = None
    """The cost of one call. None means that all tensors are read or written, and operations are not counted."""
    merged: bool = False
    """True if it consists of several kernels, each with instrumentation of its own."""
    alone: bool = False
    """True if it has so much code that it stays a function of its own, which equal layers share."""

    def cost_of(self, buffers: Buffers) -> Cost:
        """Return the cost of a call with these buffers; some of them may not be the kernel's."""
        mine = {param.name: buffers[param.name] for param in self.params}
        return Cost(sizes(mine.values())) if self.cost is None else self.cost(mine)

    def __post_init__(self) -> None:
        roles = [param.role for param in self.params]
        if sorted(roles, key=lambda role: role == "output") != roles:
            raise ValueError(f"kernel {self.name}: outputs come last")

    @property
    def is_static(self) -> bool:
        return all(isinstance(extent, int) for param in self.params for extent in param.shape)


_scratch: WeakKeyDictionary[Kernel, int] = WeakKeyDictionary()
"""The scratch memory of kernels whose extents are all known: a kernel is emitted once more for its linked weights."""


def _scratch_of(kernel: Kernel, buffers: Buffers) -> Any:
    """Return the bytes of scratch memory that the kernel takes (:func:`scratch.measure_scratch`)."""
    if kernel not in _scratch:
        size = measure_scratch(lambda: kernel.emit(buffers))
        if not isinstance(size, int):
            return size
        _scratch[kernel] = size
    return _scratch[kernel]


@dataclass
class Symbols:
    """Hold the TIR variables of the extents that are known only when a function runs."""

    variables: dict[str, Any]

    def shape(self, param: Param) -> list[Any]:
        return [extent if isinstance(extent, int) else self._variable(extent) for extent in param.shape]

    def _variable(self, name: str) -> Any:
        if name not in self.variables:
            self.variables[name] = tvm.tirx.Var(name, "int64")
        return self.variables[name]


def declare(param: Param, symbols: Symbols) -> Any:
    """Add the parameter to the function under construction; return its buffer."""
    return T.arg(param.name, T.Buffer(symbols.shape(param), param.dtype))


def linked_weight(param: Param, symbol: str, offset: Any) -> Any:
    """Return the buffer of a weight ``offset`` bytes into the archive's read-only data."""
    pointer = tvm.ir.PointerType(tvm.ir.PrimType(param.dtype))
    address = T.bind(T.call_extern(pointer, symbol, offset))
    return T.decl_buffer(param.shape, param.dtype, data=address)


def prim_func(kernel: Kernel, weights_symbol: str | None = None, instrumentation: Instrumentation | None = None) -> Any:
    """Return the kernel as a TIR function of its parameters, in their order.

    ``weights_symbol`` is the C function that returns the address of the archive's weights. With it, a weight's
    parameter is its byte offset (int64). ``instrumentation`` makes its calls at the kernel's beginning and end.
    """
    symbols = Symbols({})
    with IRBuilder() as builder, T.prim_func():
        T.func_name(kernel.name)
        # tirx.noalias is left out: with it LLVM would take a view and the buffer under it for different memory.
        T.func_attr({"op_pattern": 8, EMITTED: True})
        linked = [p for p in kernel.params if p.role == "weight"] if weights_symbol else []
        values = {
            p.name: T.arg(f"{p.name}_offset", T.int64()) if p in linked else declare(p, symbols) for p in kernel.params
        }
        buffers = dict(values)
        for param in linked:
            assert weights_symbol is not None
            buffers[param.name] = linked_weight(param, weights_symbol, values[param.name])
        if instrumentation is not None:
            emit(instrumentation.begin(kernel.name, kernel.cost_of(buffers)))
        emit_with_scratch(lambda: kernel.emit(buffers), _scratch_of(kernel, buffers))
        if instrumentation is not None:
            outputs = [buffers[p.name] for p in kernel.params if p.role == "output"]
            merged = kernel.merged
            emit(instrumentation.end_merged(kernel.name) if merged else instrumentation.end(kernel.name, outputs))
    return builder.get()
