"""torch's bags of embeddings of equal size, written with operators that there are kernels for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainBags(TorchFunctionMode):
    """Looks rows of ids up and joins each row's vectors, where nothing else is asked of ``embedding_bag``.

    Bags of different sizes, and ids that are left out, stay torch's own operator, which TVM does not know.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        whole = {name: value for name, value in options.items() if value is not None}
        if func is not functional.embedding_bag or args[0].ndim != 2 or {"max_norm", "padding_idx"} & whole.keys():
            return func(*args, **options)
        return _joined(args[0], args[1], whole.get("mode", "mean"), whole.get("per_sample_weights"))


def _joined(ids: Tensor, table: Tensor, mode: str, weights: Tensor | None) -> Tensor:
    """``ids`` [B, N] and ``table`` [V, D] to [B, D]; ``weights`` [B, N] are of a sum."""
    found = functional.embedding(ids, table)
    if mode == "max":
        return found.max(1).values
    if mode == "mean":
        return found.mean(1)
    return torch.sum(found if weights is None else found * weights[..., None], 1)
