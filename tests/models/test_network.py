"""Our torch modules against transformers' T5: equal to float32 rounding, for every function and batch size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.loading import load_checkpoint
from harness.models.g2p.network import Decoder, DecoderPrefill, DecoderStep, Encoder

pytestmark = pytest.mark.programs

CAPACITY = 40
ROUNDING = 2e-4
"""Logits of the seeded weights have a magnitude of about 50: 4 parts in a million."""


@pytest.fixture(scope="module")
def t5(small_checkpoint: Checkpoint) -> Any:
    return load_checkpoint(small_checkpoint.folder)


def batch(size: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids [B, S] padded with 0, lengths int32[B] with the first full, mask [B, S]."""
    torch.manual_seed(seed)
    lengths = torch.randint(1, length + 1, (size,), dtype=torch.int32)
    lengths[0] = length
    mask = torch.arange(length)[None] < lengths[:, None]
    return torch.randint(3, 259, (size, length), dtype=torch.int32) * mask, lengths, mask


@torch.no_grad()
@pytest.mark.parametrize(("size", "length"), [(1, 1), (1, 19), (1, CAPACITY), (3, 11), (5, 30)])
def test_encoder_decoder_and_cached_step(t5: Any, size: int, length: int) -> None:
    ids, lengths, mask = batch(size, length, seed=length)
    truth = t5.encoder(input_ids=ids.long(), attention_mask=mask.long()).last_hidden_state
    hidden = Encoder(t5, CAPACITY)(ids, lengths if size > 1 else None)
    assert torch.allclose(hidden[mask], truth[mask], atol=1e-5)

    tokens = torch.randint(3, 259, (size, 12), dtype=torch.int32)
    tokens[:, 0] = 0
    expected = t5(encoder_outputs=(truth,), attention_mask=mask.long(), decoder_input_ids=tokens.long()).logits
    whole = Decoder(t5, CAPACITY)(tokens, hidden, lengths if size > 1 else None)
    assert torch.allclose(whole, expected, atol=ROUNDING)

    step = DecoderStep(t5, CAPACITY)
    memory = DecoderPrefill(t5, CAPACITY, torch.float32)(hidden)
    width = t5.config.num_heads * t5.config.d_kv
    cache = torch.full((size, t5.config.num_decoder_layers, 2, CAPACITY * width), 9.0)
    for position in range(tokens.shape[1]):
        # The rows still being decoded, in any order: one leaves the batch after the other.
        rows = torch.arange(size, dtype=torch.int32).flip(0)[: max(1, size - position // 3)]
        at = torch.tensor([position], dtype=torch.int32)
        chosen = rows.long()
        following, logits, cache = step(tokens[chosen, position], rows, at, lengths, cache, memory)
        assert torch.allclose(logits, expected[chosen, position], atol=ROUNDING)
        assert torch.equal(following, expected[chosen, position].argmax(-1).int())


@torch.no_grad()
def test_the_whole_relative_distance_range(t5: Any) -> None:
    """Every bucket is used: distances up to the capacity, in both directions."""
    ids, _, mask = batch(1, CAPACITY, seed=3)
    tokens = torch.randint(3, 259, (1, CAPACITY), dtype=torch.int32)
    truth = t5(input_ids=ids.long(), attention_mask=mask.long(), decoder_input_ids=tokens.long()).logits
    ours = Decoder(t5, CAPACITY)(tokens, Encoder(t5, CAPACITY)(ids))
    assert torch.allclose(ours, truth, atol=ROUNDING)


@torch.no_grad()
def test_tied_checkpoints_scale_their_outputs(small_checkpoint: Checkpoint) -> None:
    """T5 1.0 ties its embeddings and scales what goes into the head; v1.1 does neither."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config.from_pretrained(small_checkpoint.folder, tie_word_embeddings=True, scale_decoder_outputs=True)
    config.scale_decoder_outputs = True
    tied = T5ForConditionalGeneration(config).eval()
    ids, tokens = torch.randint(3, 259, (1, 9)), torch.randint(3, 259, (1, 5))
    ours = Decoder(tied, CAPACITY)(tokens, Encoder(tied, CAPACITY)(ids))
    assert torch.allclose(ours, tied(input_ids=ids, decoder_input_ids=tokens).logits, atol=ROUNDING)
