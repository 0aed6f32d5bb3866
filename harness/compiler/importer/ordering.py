"""Write operators that compare many elements of a row with comparisons, sorting and sums.

Those that look at all elements before another take the logarithm of a row's length in steps, each over the whole row.
Their lengths are known: with others they are left as they are, and refused by their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _shifted(x: Tensor, dim: int, by: int, fill: Any) -> Tensor:
    """Return the elements moved back along an axis."""
    shape = list(x.shape)
    shape[dim] = by
    return torch.cat([x.new_full(shape, fill), x.narrow(dim, 0, x.shape[dim] - by)], dim)


def _running(x: Tensor, dim: int, begin: float, after: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """Return the best element so far along an axis, and the last place that it has."""
    if not isinstance(x.shape[dim], int):
        return NotImplemented
    dim, count = dim % x.ndim, x.shape[dim]
    shape = [1] * x.ndim
    shape[dim] = count
    places = torch.arange(count, device=x.device).reshape(shape).expand(x.shape)
    step = 1
    while step < count:
        before, place = _shifted(x, dim, step, begin), _shifted(places, dim, step, 0)
        stays = after(x, before)
        if x.is_floating_point():
            # Once NaN is met it stays; a later NaN is the later place.
            stays = x.isnan() | (stays & ~before.isnan())
        x, places = torch.where(stays, x, before), torch.where(stays, places, place)
        step *= 2
    return x, places


def _least(x: Tensor) -> Any:
    if x.is_floating_point():
        return -math.inf
    return False if x.dtype == torch.bool else torch.iinfo(x.dtype).min


def _most(x: Tensor) -> Any:
    if x.is_floating_point():
        return math.inf
    return True if x.dtype == torch.bool else torch.iinfo(x.dtype).max


def cummax(x: Tensor, dim: int) -> Any:
    return _running(x, dim, _least(x), torch.ge) if x.ndim else (x.clone(), torch.zeros_like(x, dtype=torch.int64))


def cummin(x: Tensor, dim: int) -> Any:
    return _running(x, dim, _most(x), torch.le) if x.ndim else (x.clone(), torch.zeros_like(x, dtype=torch.int64))


def logcumsumexp(x: Tensor, dim: int) -> Any:
    if x.ndim == 0:
        return x.clone()
    if not isinstance(x.shape[dim], int):
        return NotImplemented
    step = 1
    while step < x.shape[dim]:
        x = torch.logaddexp(x, _shifted(x, dim % x.ndim, step, -math.inf))
        step *= 2
    return x


def searchsorted(
    edges: Tensor, x: Any, *, out_int32: bool = False, right: bool = False, side: Any = None, sorter: Any = None
) -> Tensor:
    """Count the edges of a row before each number."""
    x = x if isinstance(x, Tensor) else torch.full([], x, dtype=edges.dtype)
    edges = edges if sorter is None else edges.gather(-1, sorter)
    ahead = edges.unsqueeze(-2) if x.ndim else edges
    number = x.unsqueeze(-1)
    behind = ahead > number if right or side == "right" else ahead >= number
    return torch.logical_not(behind).sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def bucketize(x: Any, edges: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    return searchsorted(edges, x, out_int32=out_int32, right=right)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """Return the least of the elements that are there most often, and its last place."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    row = x.movedim(dim, -1)
    counts = (row.unsqueeze(-1) == row.unsqueeze(-2)).sum(-1)
    often = counts == counts.amax(-1, keepdim=True)
    value = torch.where(often, row, _most(x)).amin(-1, keepdim=True)
    places = torch.where(row == value, torch.arange(row.shape[-1]), 0).amax(-1, keepdim=True)
    found = value.movedim(-1, dim), places.movedim(-1, dim)
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


def nanmedian(x: Tensor) -> Tensor:
    return nanmedian_along(x.reshape(-1), 0)[0]


def nanmedian_along(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """Return the lower one in the middle of those that are numbers, and its place."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    values, places = torch.sort(x, dim=dim, stable=True)
    count = (~x.isnan()).sum(dim, keepdim=True)
    middle = ((count - 1) // 2).clamp(min=0)
    found = values.gather(dim, middle), places.gather(dim, middle)
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


def histc(x: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """Count the elements in each of some equal ranges."""
    row = x.reshape(-1)
    low, high = torch.full([], min, dtype=x.dtype), torch.full([], max, dtype=x.dtype)
    if min == max:
        low, high = (row.amin(), row.amax()) if row.numel() else (low, high)
        alone = low == high
        low, high = torch.where(alone, low - 1, low), torch.where(alone, high + 1, high)
    bucket = torch.floor((row - low) / (high - low) * bins).clamp(max=bins - 1)
    inside = (row >= low) & (row <= high)
    each = torch.arange(bins, dtype=x.dtype).unsqueeze(-1)
    return ((bucket == each) & inside).sum(-1).to(x.dtype)


def distances(x: Tensor, y: Tensor, p: float, _mode: Any = None) -> Tensor:
    """Return the distance of each pair of points: x [..., P, M] and y [..., R, M] to [..., P, R]."""
    return _norm(x.unsqueeze(-2) - y.unsqueeze(-3), p)


def pair_distances(x: Tensor, p: float = 2.0) -> Any:
    """Return the distance of each pair of rows, for a number of rows that is known."""
    if not isinstance(x.shape[0], int):
        return NotImplemented
    rows, columns = torch.triu_indices(x.shape[0], x.shape[0], 1)
    return _norm(x[rows] - x[columns], p)


def _norm(apart: Tensor, p: float) -> Tensor:
    size = apart.abs()
    if p == 0:
        return (apart != 0).to(apart.dtype).sum(-1)
    if p == 1:
        return size.sum(-1)
    if p == 2:
        return (apart * apart).sum(-1).sqrt()
    if p == math.inf:
        return size.amax(-1)
    return (size**p).sum(-1) ** (1 / p)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Write the source's elements, in their order, to the places where the mask is true."""
    shape = torch.broadcast_shapes(x.shape, mask.shape)  # type: ignore[no-untyped-call]
    x, mask = x.expand(shape), mask.expand(shape)
    number = (mask.reshape(-1).to(torch.int64).cumsum(0) - 1).clamp(min=0)
    return torch.where(mask, source.reshape(-1)[number].reshape(mask.shape), x)


def var_mean(x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    spread = torch.var(x, dim, correction=1 if correction is None else correction, keepdim=keepdim)
    return spread, torch.mean(x, dim or list(range(x.ndim)), keepdim=keepdim)
