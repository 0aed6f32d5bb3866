"""Build a text encoder like BERT from transformers' configuration, for texts of up to 128 tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import BertConfig, BertModel

from harness.models import ModelSpec, Tolerances

VOCABULARY = 4096
MOST_TOKENS = 128


def build() -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=MOST_TOKENS,
    )
    model: nn.Module = BertModel(config)
    return model


def text(tokens: int, padding: int = 0) -> dict[str, Tensor]:
    """Return ids of a made-up text with padding behind it, which the mask hides."""
    ids = torch.randint(5, VOCABULARY, (1, tokens), generator=torch.Generator().manual_seed(tokens))
    mask = torch.ones(1, tokens, dtype=torch.int64)
    hidden = torch.zeros(1, padding, dtype=torch.int64)
    return {"input_ids": torch.cat((ids, hidden), 1), "attention_mask": torch.cat((mask, hidden), 1)}


TOKENS = Dim("tokens", min=1, max=MOST_TOKENS)

MODEL = ModelSpec(
    name="bert",
    build=build,
    example_inputs=text(19),
    dynamic_shapes={"input_ids": {1: TOKENS}, "attention_mask": {1: TOKENS}},
    items={"7 tokens": text(7), "23 tokens of 32": text(23, 9), "101 tokens": text(101)},
    compare=Tolerances(relative=1e-5),
)
