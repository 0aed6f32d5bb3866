"""Read packed weights back: which numbers an archive really holds, and how far its products are from exact ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.compiler.kernels.formats import LIMB, Array, Format, IntegerFormat
from harness.compiler.kernels.groups import GroupFormat
from harness.compiler.kernels.product import Product, column_order
from harness.compiler.kernels.rounding import LayerInputs

Floats = npt.NDArray[np.float32]


def unpack_product(product: Product, arrays: Sequence[Array], form: Format) -> Floats:
    """Return the weight [K, N] that the arrays of ``pack_product`` stand for."""
    order = column_order(product, form)
    found = np.zeros((product.depth, product.width), np.float32)
    found[:, order[order >= 0]] = unpacked(form, arrays)[: product.depth, : len(order)][:, order >= 0]
    return found


def unpacked(form: Format, arrays: Sequence[Array]) -> Floats:
    """Return the padded weight that the arrays of :meth:`Format.pack` stand for."""
    weight = arrays[0]
    if isinstance(form, GroupFormat):
        return form.read(weight)
    panels, words = weight.shape[:2]
    if not isinstance(form, IntegerFormat):
        return weight.transpose(1, 0, 2).reshape(words, -1).astype(np.float32)
    limbs = weight.reshape(panels, words, -1, form.columns, form.unit).transpose(2, 1, 4, 0, 3)
    parts = limbs.reshape(len(limbs), words * form.unit, -1).astype(np.float32)
    whole = sum(part / np.float32(LIMB) ** at for at, part in enumerate(parts))
    result: Floats = whole * arrays[1].reshape(1, -1)
    return result


def steps_of(form: Format, depth: int) -> int:
    """Return how many steps the largest activation of a row has; 0 where activations are not rounded."""
    if not isinstance(form, IntegerFormat):
        return 0
    return int(form.largest(depth) * (LIMB if form.limbs == 2 else 1))


def departure(weight: Floats, stored: Floats, form: Format, inputs: LayerInputs | None) -> float:
    """Return the error of a product's results over the results, both as root mean squares.

    It is that of the ``stored`` weight and of the activations' rounding, on the inputs that were seen; without any, on
    inputs that do not depend on each other.
    """
    exact, error = _power(weight, inputs), _power(weight - stored, inputs)
    steps = steps_of(form, len(weight))
    if steps and inputs is not None:
        largest = inputs.crest * float(np.trace(inputs.correlations)) / len(weight)
        error += largest / steps**2 / 12 * _power(weight, None)
    return (error / exact) ** 0.5 if exact > 0 else 0.0


def _power(weight: Floats, inputs: LayerInputs | None) -> float:
    """Return the mean square of the weight's results, summed over its columns."""
    results = weight if inputs is None else inputs.correlations.astype(np.float32) @ weight
    return max(float(np.einsum("kn,kn->", weight, results, dtype=np.float64)), 0.0)
