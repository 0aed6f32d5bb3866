"""Compute recurrent layers of any length: for each place of a sequence, a product with the state, then the gates.

The gates' share of the input is a product of its own over the whole sequence, before the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.arithmetic import sigmoid, tanh
from harness.compiler.kernels.cost import reading_all, rows
from harness.compiler.kernels.formats import Format
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.product import Product, product_kernel
from harness.compiler.kernels.scratch import scope, scratch
from harness.compiler.kernels.vector import chunks, f32, load, store
from harness.compiler.targets.profiles import Profile
from harness.protocol.schema import Precision

Cell = Literal["lstm", "gru", "tanh", "relu"]
Result = Literal["states", "cells"]
GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}


@dataclass(frozen=True)
class Recurrence:
    """Describe one direction of one layer.

    ``result``: whether the kernel returns its states or its cells (of an LSTM). ``batch_first``: whether the sequence
    is the second axis.
    """

    cell: Cell
    width: int
    bias: bool
    reverse: bool
    batch_first: bool
    result: Result = "states"

    @property
    def has_cells(self) -> bool:
        return self.cell == "lstm"

    @property
    def product(self) -> Product:
        """Return the product with the state, for all gates."""
        return Product(self.width, GATES[self.cell] * self.width, bias=self.bias)

    @property
    def label(self) -> str:
        marks = ("bias" if self.bias else "", "reverse" if self.reverse else "", "batch" if self.batch_first else "")
        return "_".join([self.cell, str(self.width), self.result, *filter(None, marks)])


def recurrence_kernel(
    profile: Profile, precision: Precision, layer: Recurrence, leading: tuple[Dim, Dim]
) -> tuple[Kernel, Format]:
    """Return the kernel and its format.

    The kernel maps (gates' share of the input [S, B, G * H], state [B, H], cells [B, H] of an LSTM, weight arrays) to
    [S, B, H]. With ``batch_first``, sequence and batch change places, and each sequence is run through alone. The gates
    are in torch's order. ``leading`` are the extents of the first two axes.
    """
    batch = leading[0] if layer.batch_first else leading[1]
    together = 1 if layer.batch_first else batch
    step, form = product_kernel(profile, precision, layer.product, (together,))
    weights = [param for param in step.params if param.role == "weight"]
    params = [Param("gates", (*leading, layer.product.width)), Param("state", (batch, layer.width))]
    if layer.has_cells:
        params.append(Param("cells", (batch, layer.width)))
    params += [*weights, Param("y", (*leading, layer.width), role="output")]

    def emit(buffers: Buffers) -> None:
        _Emitter(profile, layer, step, buffers).emit()

    flops = 2 * layer.width * layer.product.width
    cost = reading_all(lambda buffers: flops * rows(buffers["gates"]))
    return Kernel(f"{layer.label}_{shape_name(leading)}_{form.name}", tuple(params), emit, cost), form


class _Emitter:
    def __init__(self, profile: Profile, layer: Recurrence, step: Kernel, buffers: Buffers) -> None:
        self.layer, self.step, self.buffers, self.lanes = layer, step, buffers, profile.lanes
        first, second = (getattr(extent, "value", extent) for extent in list(buffers["gates"].shape)[:2])
        self.length, self.batch = (second, first) if layer.batch_first else (first, second)
        self.gates = vector.flat(buffers["gates"], (first * second, layer.product.width))
        self.y = vector.flat(buffers["y"], (first * second, layer.width))

    def emit(self) -> None:
        if self.layer.batch_first:
            with T.serial(self.batch) as sequence:
                self._run(sequence, 1, sequence * self.length)
        else:
            self._run(0, self.batch, 0)

    def _run(self, first: Any, count: Any, start: Any) -> None:
        """Emit ``count`` sequences from ``first`` on; each place is ``count`` rows, from ``start`` on."""
        layer = self.layer
        state = scratch((count, layer.width))
        cells = scratch((count, layer.width)) if layer.has_cells else None
        self._copy(self.buffers["state"], first, state, count)
        if cells is not None:
            self._copy(self.buffers["cells"], first, cells, count)
        sums = scratch((count, layer.product.width))
        with T.serial(self.length) as at:
            place = T.bind(start + (self.length - 1 - at if layer.reverse else at) * count)
            with scope():
                self.step.emit({**self.buffers, "x": state, "y": sums})
            with T.serial(count) as row:
                self._gate(place + row, row, sums, state, cells)

    def _copy(self, source: Any, first: Any, into: Any, count: Any) -> None:
        def body(row: Any) -> Callable[[Any, int], None]:
            return lambda k, lanes: store(into, load(source, first + row, k, lanes=lanes), row, k, lanes=lanes)

        with T.serial(count) as row:
            chunks(self.layer.width, self.lanes, body(row))

    def _gate(self, place: Any, row: Any, sums: Any, state: Any, cells: Any) -> None:
        """Emit new states, and cells, of one row; ``sums`` are the gates' shares of the old ones."""

        def body(k: Any, lanes: int) -> None:
            width = self.layer.width

            def share(buffer: Any, at: Any, gate: int) -> Any:
                return load(buffer, at, k + gate * width, lanes=lanes)

            def whole(gate: int) -> Any:
                return share(self.gates, place, gate) + share(sums, row, gate)

            new = None
            if self.layer.cell == "lstm":
                kept = sigmoid(whole(1)) * load(cells, row, k, lanes=lanes)
                new = T.bind(kept + sigmoid(whole(0)) * tanh(whole(2)))
                store(cells, new, row, k, lanes=lanes)
                value = T.bind(sigmoid(whole(3)) * tanh(new))
            elif self.layer.cell == "gru":
                old = load(state, row, k, lanes=lanes)
                candidate = T.bind(
                    tanh(share(self.gates, place, 2) + sigmoid(whole(0)) * share(sums, row, 2)),
                )
                value = T.bind(candidate + sigmoid(whole(1)) * (old - candidate))
            else:
                value = T.bind(tanh(whole(0)) if self.layer.cell == "tanh" else T.max(f32(0.0, lanes), whole(0)))
            store(state, value, row, k, lanes=lanes)
            store(self.y, new if self.layer.result == "cells" else value, place, k, lanes=lanes)

        chunks(self.layer.width, self.lanes, body)
