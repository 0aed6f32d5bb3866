"""Parts of tensors: places that count from behind, several indices, slices; and the best along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from tests.compiler.compiled import answers, compiled

pytestmark = pytest.mark.compiler

Part = Callable[[Tensor], Tensor]
ENDS, AGAIN = torch.tensor([0, -1]), torch.tensor([[-1], [2]])

PARTS: dict[str, Part] = {
    "last": lambda x: x[:, -1],
    "last but one": lambda x: x[:, -2],
    "last of a fixed axis": lambda x: x[..., -1],
    "place by a size": lambda x: x[:, x.shape[1] - 1],
    "one index": lambda x: x[:, ENDS],
    "one index without axes": lambda x: x[:, torch.tensor(-1)],
    "all indices": lambda x: x[ENDS, ENDS, ENDS],
    "two together": lambda x: x[:, ENDS, AGAIN],
    "two apart": lambda x: x[ENDS, :, ENDS],
    "end": lambda x: x[:, -2:],
    "all but the end": lambda x: x[:, 1:-1],
    "neighbours": lambda x: x[:, 1:] - x[:, :-1],
    "every other": lambda x: x[:, ::2],
    "turned": lambda x: torch.cat([x[:, 2:], x[:, :2]], 1),
}
OTHERS: dict[str, Part] = {
    "largest": lambda x: x.amax((0, 2)),
    "smallest of all": lambda x: x.amin(),
    "largest, kept": lambda x: x.amax(1, keepdim=True),
    "largest value": lambda x: x.max(1).values,
    "largest and its place": lambda x: x.max(-1).values * x.max(-1).indices,
    "smallest's place, kept": lambda x: x.min(1, keepdim=True).indices,
    "sum of exponentials": lambda x: x.logsumexp(-1),
    "product": lambda x: x.prod(-1),
    "any": lambda x: (x > 1).any(),
    "share": lambda x: x.sum(1) / x.shape[1],
    "count and size": lambda x: (x > 0).sum(1) + x.shape[1],
    "elu": lambda x: F.elu(x, 0.5),
    "celu": lambda x: F.celu(x, 0.5),
    "selu": F.selu,
}


class All(nn.Module):
    def __init__(self, parts: dict[str, Part]) -> None:
        super().__init__()
        self.parts = list(parts.values())

    def forward(self, x: Tensor) -> list[Tensor]:
        return [part(x) for part in self.parts]


@pytest.mark.thorough(keep=["fixed-*"])
@pytest.mark.parametrize("parts", [PARTS, OTHERS], ids=["parts", "others"])
@pytest.mark.parametrize("dynamic", [None, (({1: Dim("n", min=4, max=64)},),)], ids=["fixed", "of any length"])
def test_parts_are_those_that_torch_takes(parts: dict[str, Part], dynamic: Any) -> None:
    torch.manual_seed(1)
    function = compiled(All(parts), (torch.zeros(2, 5, 6),), None if dynamic is None else dynamic[0])
    for length in (5,) if dynamic is None else (4, 17):
        x = torch.randn(2, length, 6)
        for name, one, other in zip(parts, function(x), answers(All(parts), x), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("answer", [lambda x: x.argmax(-1), lambda x: (x.amax(-1), x.argmax(-1))])
def test_a_model_may_be_one_small_kernel(answer: Callable[[Tensor], Any]) -> None:
    class Best(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return answer(x)

    x = torch.randn(2, 5, 6)
    for one, other in zip(compiled(Best(), (x,))(x), answers(Best(), x), strict=True):
        np.testing.assert_array_equal(one, other)


@torch.no_grad()
def test_a_convolution_may_stand_in_front_of_a_layer_whose_last_state_is_asked_for() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.layer = nn.Conv1d(6, 8, 3, padding=1), nn.GRU(8, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            last: Tensor = self.layer(self.conv(x.transpose(1, 2)).transpose(1, 2))[1]
            return last

    torch.manual_seed(1)
    module, x = Recurrent(), torch.randn(2, 5, 6)
    np.testing.assert_allclose(compiled(module, (x,))(x)[0], answers(module, x)[0], atol=1e-5)
