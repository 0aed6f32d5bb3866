"""Recurrent layers of every kind: all states and the last ones, in both directions, of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from tests.compiler.compiled import answers, compiled

pytestmark = pytest.mark.compiler

LENGTH = Dim("length", min=2, max=64)


class Tagger(nn.Module):
    """Ids to scores of each, beside the last states, from which a second layer of another kind begins."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 24)
        self.first = nn.LSTM(24, 20, batch_first=True, bidirectional=True)
        self.second = nn.GRU(40, 40, batch_first=True)
        self.scores = nn.Linear(40, 7)

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        states, (last, _) = self.first(self.table(ids))
        start = torch.cat((last[0], last[1]), 1)[None]
        states, end = self.second(states, start)
        return self.scores(states), end


def layer(kind: str, **options: Any) -> nn.Module:
    made: nn.Module = getattr(nn, kind)(9, 21, **options)
    return made


LAYERS: dict[str, nn.Module] = {
    "lstm": layer("LSTM"),
    "lstm, both ways, two layers, batch first": layer("LSTM", bidirectional=True, num_layers=2, batch_first=True),
    "lstm without bias": layer("LSTM", bias=False),
    "gru": layer("GRU", batch_first=True),
    "gru, both ways, three layers": layer("GRU", bidirectional=True, num_layers=3),
    "rnn": layer("RNN", bidirectional=True, batch_first=True),
    "rnn of relus": layer("RNN", nonlinearity="relu", bias=False),
}


@pytest.mark.thorough(keep=["1-*-fp32", "3-lstm*first-int8"])
@torch.no_grad()
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_layer_says_what_torch_says(name: str, batch: int, precision: Any) -> None:
    torch.manual_seed(1)
    module = LAYERS[name]
    x = torch.randn((batch, 5, 9) if "batch first" in name or name in ("gru", "rnn") else (5, batch, 9))
    expected, ours = answers(module, x), compiled(module, (x,), precision=precision)(x)
    assert [array.shape for array in ours] == [array.shape for array in expected]
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol={"fp32": 1e-6, "fp16": 1e-3, "int8": 3e-2}[precision])


@torch.no_grad()
def test_a_sequence_may_have_any_length() -> None:
    torch.manual_seed(1)
    module = Tagger()
    function = compiled(module, (torch.zeros(2, 5, dtype=torch.int64),), ({1: LENGTH},))
    for length in (2, 5, 64):
        ids = torch.randint(0, 40, (2, length))
        for one, other in zip(function(ids), answers(module, ids), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)


@torch.no_grad()
def test_projected_states_are_right_step_by_step() -> None:
    module, x = nn.LSTM(9, 21, proj_size=5), torch.randn(4, 1, 9)
    for one, other in zip(compiled(module, (x,))(x), answers(module, x), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
