"""Muon, an optimizer of matrices, in float32 (Jordan et al. 2024, "Muon: An optimizer for hidden layers").

``torch.optim.Muon`` computes in bfloat16, which is slow on processors without instructions for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
"""The quintic of Newton-Schulz that brings singular values near 1, of the method's authors."""
MATCHING = 0.2
"""A step's root mean square with a rate of 1, near that of AdamW's (Liu et al. 2025, "Muon is scalable")."""


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices [N, R, C] with all singular values near 1 and the same singular vectors."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Step by the orthogonalised momentum of each matrix, with Nesterov's look ahead, and decay weights."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.05) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step. Matrices of one shape are orthogonalised together."""
        assert closure is None, "gradients are there"
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state: dict[str, Any] = self.state[matrix]
                kept = state.setdefault("momentum", torch.zeros_like(matrix))
                kept.lerp_(matrix.grad, 1 - group["momentum"])
                alike[matrix.shape].append((matrix, matrix.grad.lerp(kept, group["momentum"])))
            for shape, pairs in alike.items():
                directions = orthogonal(torch.stack([direction for _, direction in pairs]))
                size = group["lr"] * MATCHING * max(shape) ** 0.5
                for (matrix, _), direction in zip(pairs, directions, strict=True):
                    matrix.mul_(1 - group["lr"] * group["decay"]).add_(direction, alpha=-size)
