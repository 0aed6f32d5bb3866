"""Rewrite torch's embedding bags of equal size as operators that have kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainBags(TorchFunctionMode):
    """Replace ``embedding_bag`` by a lookup and a sum or a mean, if it does nothing else.

    Bags of different sizes, maxima and ids that are left out keep torch's own operator, which TVM lacks.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        asked = {name: value for name, value in options.items() if value is not None}
        mode = asked.get("mode", "mean")
        plain = func is functional.embedding_bag and args[0].ndim == 2 and mode in ("mean", "sum")
        if not plain or {"max_norm", "padding_idx"} & asked.keys():
            return func(*args, **options)
        return _joined(args[0], args[1], mode, asked.get("per_sample_weights"))


def _joined(ids: Tensor, table: Tensor, mode: str, weights: Tensor | None) -> Tensor:
    """Reduce the rows of ``table`` [V, D] at ``ids`` [B, N] to [B, D]. ``weights`` [B, N] weight a sum."""
    found = functional.embedding(ids, table)
    if mode == "mean":
        return found.mean(1)
    return torch.sum(found if weights is None else found * weights[..., None], 1)
