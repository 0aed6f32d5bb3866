"""Round weights to int8 so that a rounding error is made up for by the weights that are rounded after it.

Plain rounding moves each weight to its nearest step, as if inputs had nothing to do with each other. They do: what one
weight adds too much, another can take away again on the inputs that occur. So the weights of a column are rounded one
after the other, and each error is spread over those that are left, by the correlation of the inputs (GPTQ: Frantar et
al. 2022; optimal brain surgeon: Hassibi and Stork 1993). The archive's layout and its kernels stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.compiler.kernels.grid import Grid

STEPS = 127
"""The largest int8 weight."""
DAMPING = 0.01
"""The share of the mean square of the inputs that is added to each of them: what was never seen is not trusted."""
BLOCK = 64
"""So many errors are spread over the rest at once."""
WIDE_CREST = 40.0
"""Inputs whose largest element is so many times their mean square keep 15 bits. Their small elements would otherwise
be rounded to a few steps."""


@dataclass(frozen=True)
class LayerInputs:
    """Hold what a layer's inputs look like: their correlations [K, K], and their usual crest.

    The crest is the mean over rows of the largest squared element, divided by the row's mean square.
    """

    correlations: npt.NDArray[np.float64]
    crest: float


@dataclass(frozen=True)
class LayerCost:
    """Hold what eight bits cost of one convolution, measured on usual inputs: root mean squares over those of exact
    results, of its own results and of the model's if it alone has eight bits."""

    own: float
    whole: float
    kept: bool = False
    """Whether it stays wide for this."""


@dataclass(frozen=True)
class Calibration:
    """Hold the inputs of the layers of one function, by the names of the exported graph's nodes.

    ``grids`` are those of tensors that convolutions may hand on as bytes, by the node whose result they are.
    ``scales`` are the steps of filters that the model itself was made with, by their convolution. ``costs``
    are those of convolutions, by node.
    """

    layers: Mapping[str, LayerInputs] = field(default_factory=dict)
    grids: Mapping[str, Grid] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    costs: Mapping[str, LayerCost] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> LayerInputs | None:
        """Return the inputs of a product that stands for these nodes; None if they were not seen."""
        return next((self.layers[name] for name in names if name in self.layers), None)


def compensated(weight: npt.NDArray[np.float32], inputs: LayerInputs) -> npt.NDArray[np.float32]:
    """Return a weight [K, N] on the steps of int8, each error made up for by later rows.

    The largest element of a column becomes its last step, so that packing finds the same scale and the same steps.
    """
    scale = np.abs(weight).max(axis=0) / np.float32(STEPS)
    scale[scale == 0] = 1
    factor = _factor(inputs.correlations)
    left = weight.copy()
    steps = np.zeros_like(weight)
    ends = np.abs(weight).argmax(axis=0)
    for first in range(0, len(weight), BLOCK):
        last = min(first + BLOCK, len(weight))
        errors = np.zeros((last - first, weight.shape[1]), np.float32)
        for row in range(first, last):
            rounded = np.clip(np.rint(left[row] / scale), -STEPS, STEPS)
            rounded = np.where(ends == row, np.sign(weight[row]) * STEPS, rounded)
            steps[row] = rounded
            errors[row - first] = (left[row] - rounded * scale) / factor[row, row]
            left[row + 1 : last] -= np.outer(factor[row, row + 1 : last], errors[row - first])
        left[last:] -= factor[first:last, last:].T @ errors
    result: npt.NDArray[np.float32] = steps * scale
    return result


def _factor(correlations: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Return the upper triangular factor of the damped correlations' inverse."""
    damped = correlations + np.eye(len(correlations)) * max(DAMPING * float(np.diag(correlations).mean()), 1e-12)
    return np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
