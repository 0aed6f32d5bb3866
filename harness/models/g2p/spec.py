"""The G2P model's compiled functions: cacheless (encoder, decoder) or with caches (encoder, prefill, step)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from harness.models.g2p.network import Decoder, DecoderPrefill, DecoderStep, Encoder
from harness.models.g2p.tokenizer import EOS_ID, PAD_ID
from harness.models.spec import ModelFunction, ModelSpec

EXAMPLE_TOKENS = 19
"""Lengths of the example inputs: neither 0 nor 1, which torch.export would take for constants."""


@dataclass(frozen=True)
class G2PShapes:
    """The static sizes of one build."""

    batch_size: int = 1
    max_input_bytes: int = 64
    max_output_len: int = 128


def special_token(t5: Any, name: str, default: int) -> int:
    """The token a checkpoint names in its generation or model configuration, else ByT5's."""
    for config in (getattr(t5, "generation_config", None), t5.config):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return default


class _Encode(nn.Module):
    """Rows of a batch of one are never padded, so its lengths are not read."""

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        super().__init__()
        self.encoder, self.batch_size = encoder, batch_size

    def forward(self, input_ids: Tensor, input_lengths: Tensor) -> Tensor:
        return self.encoder(input_ids, input_lengths if self.batch_size > 1 else None)


class _Decode(nn.Module):
    def __init__(self, decoder: Decoder, batch_size: int) -> None:
        super().__init__()
        self.decoder, self.batch_size = decoder, batch_size

    def forward(self, decoder_input_ids: Tensor, encoder_hidden: Tensor, input_lengths: Tensor) -> Tensor:
        lengths = input_lengths if self.batch_size > 1 else None
        return self.decoder(decoder_input_ids, encoder_hidden, lengths)


class _Step(nn.Module):
    """Returns the logits alone: the compiled cache is the caller's own buffer, written in place."""

    def __init__(self, step: DecoderStep) -> None:
        super().__init__()
        self.step = step

    def forward(
        self, token_ids: Tensor, position: Tensor, input_lengths: Tensor, self_cache: Tensor, cross_cache: Tensor
    ) -> Tensor:
        return self.step(token_ids, position, input_lengths, self_cache, cross_cache)[0]


def g2p_spec(t5: Any, shapes: G2PShapes, *, kv_cache: bool) -> ModelSpec:
    """The functions of a transformers ``T5ForConditionalGeneration`` in float32 on the CPU."""
    config = t5.config
    batch, length = shapes.batch_size, min(EXAMPLE_TOKENS, shapes.max_input_bytes)
    width = config.num_heads * config.d_kv
    tokens = Dim("s", min=1, max=shapes.max_input_bytes)
    input_ids = torch.full((batch, length), 5, dtype=torch.int32)
    lengths = torch.full((batch,), length, dtype=torch.int32)
    hidden = torch.zeros(batch, length, config.d_model)
    encoder = ModelFunction(
        "encoder", _Encode(Encoder(t5, shapes.max_input_bytes), batch), (input_ids, lengths), ({1: tokens}, None)
    )
    cache_shape = [config.num_decoder_layers, 2, batch, shapes.max_output_len, width]
    decoding: tuple[ModelFunction, ...]
    if kv_cache:
        cross = torch.zeros(batch, length, config.num_decoder_layers, 2, width)
        token, position = torch.zeros(batch, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
        step = _Step(DecoderStep(t5, shapes.max_output_len))
        decoding = (
            ModelFunction("decoder_prefill", DecoderPrefill(t5), (hidden,), ({1: tokens},)),
            ModelFunction(
                "decoder_step",
                step,
                (token, position, lengths, torch.zeros(cache_shape), cross),
                (None, None, None, None, {1: tokens}),
            ),
        )
    else:
        decoder = _Decode(Decoder(t5, shapes.max_output_len), batch)
        generated = Dim("t", min=1, max=shapes.max_output_len)
        ids = torch.zeros(batch, min(7, shapes.max_output_len), dtype=torch.int32)
        decoding = (ModelFunction("decoder", decoder, (ids, hidden, lengths), ({1: generated}, {1: tokens}, None)),)
    return ModelSpec(
        kind="g2p",
        functions=(encoder, *decoding),
        metadata={
            "vocab_size": config.vocab_size,
            "decoder_start_token_id": special_token(t5, "decoder_start_token_id", PAD_ID),
            "eos_token_id": special_token(t5, "eos_token_id", EOS_ID),
            "self_cache_shape": cache_shape if kv_cache else None,
        },
        encoder_capacity=shapes.max_input_bytes,
    )
