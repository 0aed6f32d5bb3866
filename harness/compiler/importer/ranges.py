"""Watch a model's images on usual inputs, and choose the grid of bytes for each: static quantization after training.

Three observers choose the range that the bytes cover (as in Krishnamoorthi 2018, and Nagel et al. 2021): the smallest
and the largest value that occurs; the values between two percentiles; and the range whose mean squared error is the
least. Ranges contain 0, which is a byte of its own, so that borders of zeros are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from harness.compiler.importer.exporting import graph_arguments
from harness.compiler.kernels.grid import Grid
from harness.models.functions import Call
from harness.models.quantization import Observer

BINS = 2048
"""The bins of a tensor's histogram, between its smallest and its largest value."""
PERCENT = 0.01
"""The percentage of the values that the percentile observer cuts off, half of them at each end."""
SHRUNK = tuple(1 - 0.02 * at for at in range(36))
"""The shares of the whole range that the observer of the mean squared error tries."""
STEPS = 255
LEAST_AXES, MOST_AXES = 3, 4
CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default)

Counts = npt.NDArray[np.float64]


@dataclass
class Seen:
    """Hold the smallest and the largest value of a tensor, and how many values each bin between them has."""

    low: float = 0.0
    high: float = 0.0
    counts: Counts = field(default_factory=lambda: np.zeros(BINS))


def convolutions(program: ExportedProgram) -> list[fx.Node]:
    """Return the convolutions of a graph that are not transposed."""
    return [node for node in program.graph.nodes if node.target in CONVOLUTIONS and not _transposed(node)]


def _transposed(node: fx.Node) -> bool:
    return node.target is CONVOLUTIONS[0] and bool(node.args[6])


class _Watched(fx.Interpreter):
    def __init__(self, program: ExportedProgram, watch: Callable[[str, Tensor], None]) -> None:
        super().__init__(program.graph_module, garbage_collect_values=True)
        specs = program.graph_signature.input_specs
        self.inputs = {spec.arg.name for spec in specs if spec.kind == InputKind.USER_INPUT}
        self.watch = watch

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        # A norm's first result is the image, also under the norm's own name.
        image = found[0] if isinstance(found, tuple | list) and found else found
        if is_image(image) and (n.op == "call_function" or n.name in self.inputs):
            self.watch(n.name, image)
        return found


def is_image(value: Any) -> bool:
    """Return whether a value is a tensor that a convolution may take or give."""
    return isinstance(value, Tensor) and value.dtype == torch.float32 and LEAST_AXES <= value.ndim <= MOST_AXES


def seen_images(
    calibrate: Callable[[Call], None], programs: Mapping[str, ExportedProgram]
) -> dict[str, dict[str, Seen]]:
    """Run the model twice and return what its images look like, by function and node."""
    found: dict[str, dict[str, Seen]] = {name: {} for name in programs}

    def bounds(seen: dict[str, Seen], name: str, value: Tensor) -> None:
        if value.numel():
            low, high = (float(one) for one in torch.aminmax(value))
            one = seen.setdefault(name, Seen())
            one.low, one.high = min(one.low, low), max(one.high, high)

    def counts(seen: dict[str, Seen], name: str, value: Tensor) -> None:
        one = seen.get(name)
        if one is not None and np.isfinite(one.low + one.high) and one.high > one.low:
            one.counts += torch.histc(value.flatten(), BINS, one.low, one.high).double().numpy()

    for watch in (bounds, counts):

        def call(function: str, inputs: tuple[Tensor, ...], watch: Any = watch) -> tuple[Tensor, ...]:
            program, seen = programs[function], found[function]
            with torch.no_grad():
                run = _Watched(program, lambda name, value: watch(seen, name, value))
                return tuple(run.run(*graph_arguments(program, inputs)))

        calibrate(call)
    return found


def grids(seen: Mapping[str, Seen], observer: Observer) -> dict[str, Grid]:
    """Return the grids of the tensors that are not constant and have finite values only."""
    known = {name: one for name, one in seen.items() if np.isfinite(one.low + one.high) and one.high > one.low}
    return {name: grid_of(*OBSERVERS[observer](one)) for name, one in known.items()}


def grid_of(low: float, high: float) -> Grid:
    """Return the grid of 256 steps that covers a range."""
    scale = max((high - low) / STEPS, 1e-20)
    return Grid(scale, int(np.clip(round(-low / scale), 0, STEPS)))


def _whole(seen: Seen) -> tuple[float, float]:
    return seen.low, seen.high


def _percentile(seen: Seen) -> tuple[float, float]:
    edges = np.linspace(seen.low, seen.high, BINS + 1)
    shares = np.cumsum(seen.counts) / max(seen.counts.sum(), 1)
    cut = PERCENT / 200
    low, high = edges[np.searchsorted(shares, cut)], edges[min(int(np.searchsorted(shares, 1 - cut)) + 1, BINS)]
    return min(float(low), 0.0), max(float(high), 0.0)


def _least_error(seen: Seen) -> tuple[float, float]:
    """Return the range, shrunk around 0, whose clipping and rounding add the least squares."""
    edges = np.linspace(seen.low, seen.high, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def error(share: float) -> float:
        low, high = seen.low * share, seen.high * share
        away = middles - np.clip(middles, low, high)
        # What is a bound of an activation, as 0 or 6, is exactly a step; all else is anywhere between two.
        rounding = ((high - low) / STEPS) ** 2 / 12
        return float((seen.counts * (away**2 + np.where(away == 0, rounding, 0))).sum())

    share = min(SHRUNK, key=error)
    return seen.low * share, seen.high * share


OBSERVERS: dict[Observer, Callable[[Seen], tuple[float, float]]] = {
    "min-max": _whole,
    "percentile": _percentile,
    "mse": _least_error,
}
