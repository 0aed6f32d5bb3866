"""Define torch's recurrent layers as one operator for any length.

``torch.export`` runs a recurrent layer step by step to find its shapes, and so fixes the sequence's length. Under
:class:`KeepRecurrent`, the layer is an operator with a shape function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CELLS: dict[str, Callable[..., Any]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
}


@torch.library.custom_op("harness::recurrent", mutates_args=())
def recurrent(
    x: Tensor,
    initial: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: str,
    bias: bool,
    layers: int,
    both: bool,
    batch_first: bool,
) -> list[Tensor]:
    """Run recurrent layers on ``x`` [S, B, I] (or [B, S, I]).

    Returns the last layer's states [S, B, D * H] and, for each of ``initial`` [L * D, B, H], the last ones of every
    layer and direction. ``weights`` are in torch's order.
    """
    given = tuple(initial) if cell == "lstm" else initial[0]
    return list(CELLS[cell](x, given, list(weights), bias, layers, 0.0, False, both, batch_first))


@recurrent.register_fake
def _(
    x: Tensor,
    initial: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: str,
    bias: bool,
    layers: int,
    both: bool,
    batch_first: bool,
) -> list[Tensor]:
    states = x.new_empty(x.shape[0], x.shape[1], (2 if both else 1) * weights[1].shape[1])
    return [states, *(torch.empty_like(start) for start in initial)]


class KeepRecurrent(TorchFunctionMode):
    """Replace torch's layers by :func:`recurrent`, except for packed sequences and projected states."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        cell = next((name for name, layer in CELLS.items() if func is layer), None)
        if cell is None or kwargs or len(args) != 9:
            return func(*args, **(kwargs or {}))
        x, initial, weights, bias, layers, _dropout, train, both, batch_first = args
        count = layers * (2 if both else 1) * (4 if bias else 2)
        if train or not isinstance(weights, list | tuple) or len(weights) != count:
            return func(*args)
        starts = list(initial) if cell == "lstm" else [initial]
        return tuple(recurrent(x, starts, list(weights), cell, bias, layers, both, batch_first))
