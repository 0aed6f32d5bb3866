"""Write pools of any form with plain ones, and with lookups of each window's elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

PLAIN: dict[int, Callable[..., Tensor]] = {
    1: torch.ops.aten.avg_pool1d.default,
    2: torch.ops.aten.avg_pool2d.default,
    3: torch.ops.aten.avg_pool3d.default,
}


def _each(value: Any, axes: int) -> list[int]:
    """Return a size for each axis; torch takes one for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _average(axes: int) -> Callable[..., Any]:
    def pool(
        x: Tensor,
        kernel_size: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        """Take sums of padded windows, and divide each by what torch counts there."""
        if not x.is_floating_point():
            return NotImplemented
        size, pad = _each(kernel_size, axes), _each(padding, axes)
        step = size if stride is None or stride == [] or stride == () else _each(stride, axes)
        if not any(pad) and not ceil_mode and divisor_override is None:
            return NotImplemented
        if not ceil_mode and divisor_override is None and axes == 2:
            return NotImplemented
        shape = x.shape[-axes:]
        count = [_count(*one, ceil_mode) for one in zip(shape, size, step, pad, strict=True)]
        # In front of each axis, and behind it as far as the last window reaches.
        behind = [
            (n - 1) * s + k - extent - p for n, s, k, extent, p in zip(count, step, size, shape, pad, strict=True)
        ]
        around = [side for pair in zip(reversed(pad), reversed(behind), strict=True) for side in pair]
        mean = PLAIN[axes](torch.constant_pad_nd(x, around), size, step)
        volume = math.prod(size)
        if divisor_override is not None:
            return mean * (volume / divisor_override)
        for axis, one in enumerate(zip(shape, size, step, pad, count, strict=True)):
            counted = _counted(*one, count_include_pad).to(x.dtype)
            mean = mean * (one[1] / counted).reshape([-1] + [1] * (axes - 1 - axis))
        return mean

    return pool


def _count(extent: Any, size: int, step: int, pad: int, ceil: bool) -> Any:
    """Return the number of windows along an axis."""
    whole = (extent + 2 * pad - size + (step - 1 if ceil else 0)) // step + 1
    # A last window has to begin within the axis or the padding in front of it.
    return whole - 1 if ceil and (whole - 1) * step >= extent + pad else whole


def _counted(extent: Any, size: int, step: int, pad: int, count: Any, with_pad: bool) -> Tensor:
    """Return how many elements of each window torch divides by."""
    begin = torch.arange(count) * step - pad
    end = (begin + size).clamp(max=extent + pad)
    return end - begin if with_pad else end.clamp(max=extent) - begin.clamp(min=0)


def _adaptive(axes: int) -> Callable[..., Any]:
    def pool(x: Tensor, output_size: Sequence[int]) -> Any:
        """Return the largest element of windows that divide each axis, and its place."""
        shape, sizes = x.shape[-axes:], _each(output_size, axes)
        if not all(isinstance(extent, int) for extent in shape):
            return NotImplemented
        places = torch.zeros([1] * 2 * axes, dtype=torch.int64)
        for axis, (extent, size) in enumerate(zip(shape, sizes, strict=True)):
            number = torch.arange(size)
            begin, end = number * extent // size, ((number + 1) * extent + size - 1) // size
            longest = max(-(-(i + 1) * extent // size) - i * extent // size for i in range(size))
            # A shorter window has its last element several times.
            window = torch.minimum(begin.unsqueeze(-1) + torch.arange(longest), end.unsqueeze(-1) - 1)
            form = [1] * 2 * axes
            form[axis], form[axes + axis] = size, longest
            places = places * extent + window.reshape(form)
        places = places.reshape(*sizes, -1)
        windows = x.flatten(-axes)[..., places]
        most, number = windows.max(-1)
        return most, places.expand(windows.shape).gather(-1, number.unsqueeze(-1)).squeeze(-1)

    return pool


average1, average2, average3 = (_average(axes) for axes in (1, 2, 3))
adaptive_most2, adaptive_most3 = (_adaptive(axes) for axes in (2, 3))


def grid_sample3(x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    """Return the elements of a volume [N, C, D, H, W] at places [N, ..., 3] between -1 and 1, first along W."""
    items, channels, *shape = x.shape
    at = [_unnormalized(grid[..., 2 - axis], shape[axis], padding, align_corners) for axis in range(3)]
    flat = x.reshape(items, channels, -1)

    def read(places: Sequence[Tensor]) -> Tensor:
        """Return the elements at whole places; 0 outside."""
        inside = torch.ones_like(places[0], dtype=torch.bool)
        number = torch.zeros_like(places[0], dtype=torch.int64)
        for place, extent in zip(places, shape, strict=True):
            inside = inside & (place >= 0) & (place <= extent - 1)
            number = number * extent + place.clamp(0, extent - 1).to(torch.int64)
        found = flat.gather(2, number.reshape(items, 1, -1).expand(-1, channels, -1))
        return found.reshape(items, channels, *grid.shape[1:4]) * inside.unsqueeze(1).to(x.dtype)

    if mode == 1:
        return read([place.round() for place in at])
    low = [place.floor() for place in at]
    total = torch.zeros(())
    for corner in range(8):
        sides = [corner >> axis & 1 for axis in range(3)]
        share = torch.ones(())
        for side, place, begin in zip(sides, at, low, strict=True):
            share = share * (place - begin if side else 1 - (place - begin))
        part = read([begin + side for side, begin in zip(sides, low, strict=True)])
        total = total + part * share.unsqueeze(1)
    return total


def _unnormalized(place: Tensor, extent: int, padding: int, align_corners: bool) -> Tensor:
    """Return a place as a number of elements, within the axis if the padding repeats or mirrors."""
    place = (place + 1) / 2 * (extent - 1) if align_corners else ((place + 1) * extent - 1) / 2
    if padding == 2:
        low, span = (0.0, extent - 1.0) if align_corners else (-0.5, float(extent))
        if span == 0:
            return torch.zeros_like(place)
        away = (place - low).abs()
        rest, turns = torch.fmod(away, span), torch.floor(away / span)
        place = torch.where(torch.fmod(turns, 2) == 0, rest + low, span - rest + low)
    return place if padding == 0 else place.clamp(0, extent - 1)
