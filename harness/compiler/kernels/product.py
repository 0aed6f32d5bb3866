"""Compute products with a constant weight, with the operations before and after them in a network.

    y = residual + activation(norm(x) W + bias)

and the gated form ``activation(a) * b`` for the two halves a, b of ``norm(x) W``. One row is bound by reading the
weight once; many rows are cut into nearly equal register tiles, with code of its own for each tile height.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.choice import format_for
from harness.compiler.kernels.cost import reading_all, rows
from harness.compiler.kernels.formats import Activations, Array, Format
from harness.compiler.kernels.groups import GROUP
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import Norm, norm_params, normalise, shape_name
from harness.compiler.kernels.parallel import estimated, is_worth, rounds
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import ACTIVATIONS, F32, load, quotient, store
from harness.compiler.targets.profiles import Profile
from harness.protocol.schema import Precision

LEAST_WEIGHTS = 1 << 18
"""The weights from which on threads share the product of one row. Reading them takes ten times what it costs to hand
work over."""


@dataclass(frozen=True)
class Product:
    """Describe a product, without its weight and its rows.

    ``width`` counts the weight's columns; a gated product has half as many outputs.
    """

    depth: int
    width: int
    norm: Norm | None = None
    eps: float = 0.0
    bias: bool = False
    activation: str | None = None
    gated: bool = False
    residual: bool = False

    @property
    def outputs(self) -> int:
        return self.width // 2 if self.gated else self.width

    @property
    def label(self) -> str:
        parts = [f"{self.norm}_{self.eps:g}" if self.norm else "", "bias" if self.bias else "", self.activation or ""]
        parts += ["gated" if self.gated else "", "residual" if self.residual else ""]
        return "_".join(["product", str(self.depth), str(self.width), *filter(None, parts)])


def is_one_row(leading: tuple[Dim, ...]) -> bool:
    return all(extent == 1 for extent in leading)


def pack_product(
    product: Product,
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32] | None,
    form: Format,
) -> list[Array]:
    """Return the weight's arrays for :func:`product_kernel`, in the order of its parameters.

    A gated weight [K, 2F] (gate columns first) gets half a panel of gate columns beside the same columns of
    the other half, so that the activation is the tile's epilogue.
    """
    order = column_order(product, form)
    arranged = np.zeros((product.depth, len(order)), np.float32)
    arranged[:, order >= 0] = weight[:, order[order >= 0]]
    arrays = form.pack(arranged)
    if bias is not None:
        padded = np.zeros(len(order), np.float32)
        padded[order >= 0] = bias[order[order >= 0]]
        arrays.append(padded.reshape(-1, form.columns))
    return arrays


def column_order(product: Product, form: Format) -> npt.NDArray[np.int64]:
    """Return the weight's column for each packed column, -1 if there is none."""
    panels = panel_count(product, form)
    packed = np.arange(panels * form.columns)
    if not product.gated:
        return np.where(packed < product.width, packed, -1)
    half = form.columns // 2
    within = packed % form.columns
    output = packed // form.columns * half + within % half
    return np.where(output < product.outputs, output + (within >= half) * product.outputs, -1)


def panel_count(product: Product, form: Format) -> int:
    return -(-product.outputs // outputs_of_panel(product, form))


def outputs_of_panel(product: Product, form: Format) -> int:
    return form.columns // 2 if product.gated else form.columns


def product_kernel(
    profile: Profile,
    precision: Precision,
    product: Product,
    leading: tuple[Dim, ...],
    *,
    wide_activations: bool = False,
    shared: bool = False,
    group: int = GROUP,
) -> tuple[Kernel, Format]:
    """Return the kernel and its format.

    The kernel maps (x [..., K], residual [..., outputs] if any, gain and shift of a norm, weight arrays) to y [...,
    outputs]. ``leading`` are the extents before the last axis; if all are 1, the one-row template is taken. ``shared``
    and ``group`` are those of :func:`format_for`; ``shared`` also lets threads share one row's product with a large
    weight.
    """
    one_row = is_one_row(leading)
    form = format_for(precision, profile, one_row=one_row, wide=wide_activations, shared=shared, group=group)
    panels = panel_count(product, form)
    params = [Param("x", (*leading, product.depth))]
    if product.residual:
        params.append(Param("residual", (*leading, product.outputs)))
    if product.norm:
        params += norm_params(product.norm, product.depth)
    params += form.params(product.depth, panels * form.columns)
    if product.bias:
        params.append(Param("bias", (panels, form.columns), F32, "weight"))
    params.append(Param("y", (*leading, product.outputs), role="output"))

    def emit(buffers: Buffers) -> None:
        _Emitter(profile, product, form, panels, buffers, cut).emit(one_row)

    cut = one_row and shared and product.depth * product.width >= LEAST_WEIGHTS
    name = f"{product.label}_{shape_name(leading)}_{form.name}" + ("_cut" if cut else "")
    flops = 2 * product.depth * product.width
    return Kernel(name, tuple(params), emit, reading_all(lambda buffers: flops * rows(buffers["x"]))), form


class _Emitter:
    def __init__(
        self, profile: Profile, product: Product, form: Format, panels: int, buffers: Buffers, cut: bool
    ) -> None:
        self.profile, self.product, self.form, self.panels, self.buffers = profile, product, form, panels, buffers
        self.cut = cut
        self.lanes = profile.lanes
        self.per_panel = outputs_of_panel(product, form)
        self.rows = vector.rows_of(buffers["x"])
        self.y = vector.flat(buffers["y"], (self.rows, product.outputs))
        self.residual = vector.flat(buffers["residual"], (self.rows, product.outputs)) if product.residual else None

    def emit(self, one_row: bool) -> None:
        activations = self._activations()
        spilled = scratch((self.rows, self.panels * self.form.columns)) if self.spills else None
        if one_row:
            self._one_row(activations, spilled)
            return
        cycles = estimated(self.rows, self.product.depth, self.product.width) / (2 * self.lanes)
        with rounds(self.panels, worth=is_worth(cycles), apart=self.form.opens) as panel:
            self._tiles(activations, panel, spilled)
            if spilled is not None:
                with T.serial(self.rows) as row:
                    self._store_spilled(spilled, row, panel)

    def _one_row(self, activations: Activations, spilled: Any) -> None:
        if not self.cut:
            with T.serial(self.panels) as panel:
                self._tile(activations, 0, 1, panel, spilled, (self.buffers, panel))
            if spilled is not None:
                with T.serial(self.panels) as panel:
                    self._store_spilled(spilled, 0, panel)
            return
        with rounds(self.panels) as panel:
            self._tile(activations, 0, 1, panel, spilled, (self.buffers, panel))
            if spilled is not None:
                self._store_spilled(spilled, 0, panel)

    @property
    def spills(self) -> bool:
        """Return whether sums go through memory: if the last panel is finished column by column, and for activations.

        Otherwise LLVM would keep an activation's dozen constants in registers through the products' loops, and the sums
        on the stack.
        """
        return bool(self.product.outputs % self.per_panel) or self.product.activation is not None

    def _activations(self) -> Activations:
        product, depth = self.product, self.product.depth
        x = vector.flat(self.buffers["x"], (self.rows, depth))
        if product.norm:
            normed = scratch((self.rows, depth))
            with T.serial(self.rows) as row:
                normalise(product.norm, x, row, depth, product.eps, self.buffers, normed, self.lanes)
            x = normed
        return self.form.prepare(x, self.rows, depth)

    def _tile(
        self, activations: Activations, first: Any, rows: int, panel: Any, spilled: Any, opened: tuple[Buffers, Any]
    ) -> None:
        tile = self.form.tile(activations, first, rows, *opened, self.product.depth)
        for offset, vectors in enumerate(tile):
            # If rows are multiplied in pairs, the last pair's second row may not exist.
            if offset % self.form.row_unit:
                with vector.when(first + offset < self.rows):
                    self._store_row(vectors, first + offset, panel, spilled)
            else:
                self._store_row(vectors, first + offset, panel, spilled)

    def _store_row(self, vectors: list[Any], row: Any, panel: Any, spilled: Any) -> None:
        if spilled is None:
            self._store_vectors(vectors, row, panel)
            return
        for v, value in enumerate(vectors):
            store(spilled, value, row, panel * self.form.columns + v * self.lanes, lanes=self.lanes)

    def _tiles(self, activations: Activations, panel: Any, spilled: Any) -> None:
        """Emit nearly equal tiles, so that no lane computes a missing row: 19 rows, at most 12 a tile, are 10 and 9."""
        unit = self.form.row_unit
        most = self.form.rows // unit
        units = quotient(self.rows + (unit - 1), unit)
        count = quotient(units + (most - 1), most)
        heights = _heights(units, count) if isinstance(units, int) else range(1, most + 1)
        opened = self.form.opened(self.buffers, panel, self.product.depth)
        with T.serial(count) as tile:
            first = T.bind(T.Cast("int32", quotient(tile * units, count)))
            height = T.bind(T.Cast("int32", quotient((tile + 1) * units, count)) - first)
            for candidate in heights:
                with vector.when(height == candidate):
                    self._tile(activations, first * unit, candidate * unit, panel, spilled, opened)

    def _store_spilled(self, spilled: Any, row: Any, panel: Any) -> None:
        def read(column: Any, lanes: int) -> Any:
            return load(spilled, row, panel * self.form.columns + column, lanes=lanes)

        def vectors() -> None:
            self._store_vectors([read(v * self.lanes, self.lanes) for v in range(self.form.vectors)], row, panel)

        tail = self.product.outputs % self.per_panel
        if not tail:
            vectors()
            return
        with T.If(panel < self.panels - 1):
            with T.Then():
                vectors()
            with T.Else(), T.serial(tail) as c:
                last, half = self.panels - 1, self.form.columns // 2
                other = self._biased(read(half + c, 1), last, half + c, 1) if self.product.gated else None
                self._finish(self._biased(read(c, 1), last, c, 1), other, row, last * self.per_panel + c, 1)

    def _store_vectors(self, vectors: list[Any], row: Any, panel: Any) -> None:
        lanes = self.lanes
        biased = [self._biased(value, panel, v * lanes, lanes) for v, value in enumerate(vectors)]
        half = len(biased) // 2
        for v in range(half if self.product.gated else len(biased)):
            other = biased[half + v] if self.product.gated else None
            self._finish(biased[v], other, row, panel * self.per_panel + v * lanes, lanes)

    def _biased(self, value: Any, panel: Any, column: Any, lanes: int) -> Any:
        if not self.product.bias:
            return value
        return value + load(self.buffers["bias"], panel, column, lanes=lanes)

    def _finish(self, value: Any, other: Any, row: Any, column: Any, lanes: int) -> None:
        if self.product.activation:
            value = ACTIVATIONS[self.product.activation](value, lanes)
        if other is not None:
            value = value * other
        if self.residual is not None:
            value = value + load(self.residual, row, column, lanes=lanes)
        store(self.y, value, row, column, lanes=lanes)


def tile_heights(rows: int, form: Format) -> list[int]:
    """Return the heights of the tiles into which so many rows are cut, in their order."""
    units = -(-rows // form.row_unit)
    count = -(-units // (form.rows // form.row_unit))
    return [((tile + 1) * units // count - tile * units // count) * form.row_unit for tile in range(count)]


def _heights(units: int, count: int) -> list[int]:
    """Return the tile heights that occur when ``units`` rows are cut into ``count`` tiles."""
    return sorted({(tile + 1) * units // count - tile * units // count for tile in range(count)})
