"""List the operators that are written with others before they are imported, instead of having an entry.

Each function takes what torch's operator takes. It returns NotImplemented for what it has no form of: the operator then
stays, for TVM's importer or for an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions

from harness.compiler.extensions import IMPORTERS
from harness.compiler.importer import arithmetic, convolutions, ordering, pooling
from harness.core.plugins import entries

aten = torch.ops.aten
WRITTEN: dict[Any, Callable[..., Any]] = {
    aten._cdist_forward.default: ordering.distances,
    aten._pdist_forward.default: ordering.pair_distances,
    aten.adaptive_max_pool2d.default: pooling.adaptive_most2,
    aten.adaptive_max_pool3d.default: pooling.adaptive_most3,
    aten.avg_pool1d.default: pooling.average1,
    aten.avg_pool2d.default: pooling.average2,
    aten.avg_pool3d.default: pooling.average3,
    aten.bucketize.Scalar: ordering.bucketize,
    aten.bucketize.Tensor: ordering.bucketize,
    aten.convolution.default: convolutions.convolution,
    aten.copysign.Scalar: arithmetic.copysign,
    aten.copysign.Tensor: arithmetic.copysign,
    aten.cosh.default: arithmetic.cosh,
    aten.cummax.default: ordering.cummax,
    aten.cummin.default: ordering.cummin,
    aten.div.Scalar_mode: arithmetic.divide,
    aten.div.Tensor_mode: arithmetic.divide,
    aten.empty_strided.default: arithmetic.empty_strided,
    aten.erfc.default: arithmetic.erfc,
    aten.floor_divide.default: arithmetic.floor_divide,
    aten.fmax.default: arithmetic.fmax,
    aten.fmin.default: arithmetic.fmin,
    aten.grid_sampler_3d.default: pooling.grid_sample3,
    aten.heaviside.default: arithmetic.heaviside,
    aten.histc.default: ordering.histc,
    aten.hypot.default: arithmetic.hypot,
    aten.isinf.default: arithmetic.never,
    aten.isnan.default: arithmetic.never,
    aten.logaddexp.default: arithmetic.logaddexp,
    aten.logcumsumexp.default: ordering.logcumsumexp,
    aten.masked_scatter.default: ordering.masked_scatter,
    aten.mode.default: ordering.mode,
    aten.nanmedian.default: ordering.nanmedian,
    aten.nanmedian.dim: ordering.nanmedian_along,
    aten.remainder.Scalar: arithmetic.remainder,
    aten.remainder.Scalar_Tensor: arithmetic.remainder,
    aten.remainder.Tensor: arithmetic.remainder,
    aten.searchsorted.Scalar: ordering.searchsorted,
    aten.searchsorted.Tensor: ordering.searchsorted,
    aten.signbit.default: arithmetic.signbit,
    aten.sinh.default: arithmetic.sinh,
    aten.var_mean.correction: ordering.var_mean,
}

TORCHS = (
    aten._native_batch_norm_legit_functional.default,
    aten._native_batch_norm_legit.no_stats,
    aten.native_layer_norm.default,
)
"""Operators that torch keeps though it has a decomposition. TVM's importer knows only one of their results, and takes
norms by the statistics of a batch for those of inference.
"""


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return torch's decompositions with ours; without those that an installed package has an importer entry for."""
    offered = {entry.name for entry in entries(IMPORTERS)}
    ours = {operator: form for operator, form in WRITTEN.items() if operator.__name__ not in offered}
    table = torch.export.default_decompositions()
    table.update({**get_decompositions(TORCHS), **ours})  # type: ignore[no-untyped-call]
    return table
