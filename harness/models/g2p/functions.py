"""Build the G2P model's compiled functions: cacheless (encoder, decoder) or with caches (encoder, prefill, step)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from harness.core.progress import Progress
from harness.models.functions import Call, ModelFunction, ModelFunctions
from harness.models.g2p.items import encode_prompt
from harness.models.g2p.loading import load_checkpoint
from harness.models.g2p.network import Decoder, DecoderPrefill, DecoderStep, Encoder
from harness.models.g2p.word_list import default_words
from harness.models.tokenizer import EOS_ID, PAD_ID
from harness.protocol.schema import Precision

MOST_CALIBRATION_TOKENS = 24
"""Tokens of a word after which its calibration ends: random weights never choose the end."""
EXAMPLE_TOKENS = 19
"""The length of the example inputs: neither 0 nor 1, which torch.export would take for constants."""


@dataclass(frozen=True)
class G2PShapes:
    """Hold the static sizes of one build."""

    batch_size: int = 1
    max_input_bytes: int = 64
    max_output_len: int = 128


def special_token(t5: Any, name: str, default: int) -> int:
    """Return the token that a checkpoint names in its generation or model configuration, else ByT5's."""
    for config in (getattr(t5, "generation_config", None), t5.config):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return default


class _Encode(nn.Module):
    """Encode a batch. Rows of a batch of one are never padded, so its lengths are not read."""

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


CACHE_BLOCK = 16
"""Caches contain whole blocks of this many positions, so that every instruction set's vectors divide them."""


def g2p_spec(t5: Any, shapes: G2PShapes, *, kv_cache: bool, cache_dtype: torch.dtype = torch.float32) -> ModelFunctions:
    """The functions of a transformers ``T5ForConditionalGeneration`` in float32 on the CPU.

    ``cache_dtype``: float32 or float16, the element type of both caches.
    """
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
    cache_shape = [batch, config.num_decoder_layers, 2, _whole_blocks(shapes.max_output_len) * width]
    decoding: tuple[ModelFunction, ...]
    if kv_cache:
        capacity = _whole_blocks(shapes.max_input_bytes)
        memory = torch.zeros(batch, config.num_decoder_layers, 2, capacity * width, dtype=cache_dtype)
        # A batch of one is static, so that its products are compiled for one row.
        active = min(batch, 2)
        rows = None if batch == 1 else {0: Dim("b", min=1, max=batch)}
        token, row = torch.zeros(active, dtype=torch.int32), torch.arange(active, dtype=torch.int32)
        position = torch.zeros(1, dtype=torch.int32)
        decoding = (
            ModelFunction("decoder_prefill", DecoderPrefill(t5, capacity, cache_dtype), (hidden,), ({1: tokens},)),
            ModelFunction(
                "decoder_step",
                DecoderStep(t5, _whole_blocks(shapes.max_output_len)),
                (token, row, position, lengths, torch.zeros(cache_shape, dtype=cache_dtype), memory),
                (rows, rows, None, None, None, None),
                results=(0, None, 4),
            ),
        )
    else:
        decoder = _Decode(Decoder(t5, shapes.max_output_len), batch)
        generated = Dim("t", min=1, max=shapes.max_output_len)
        ids = torch.zeros(batch, min(7, shapes.max_output_len), dtype=torch.int32)
        decoding = (ModelFunction("decoder", decoder, (ids, hidden, lengths), ({1: generated}, {1: tokens}, None)),)
    return ModelFunctions(
        functions=(encoder, *decoding),
        metadata={
            "vocab_size": config.vocab_size,
            "decoder_start_token_id": special_token(t5, "decoder_start_token_id", PAD_ID),
            "eos_token_id": special_token(t5, "eos_token_id", EOS_ID),
            "self_cache_shape": cache_shape if kv_cache else None,
            "self_cache_dtype": str(cache_dtype).removeprefix("torch."),
        },
        calibrate=lambda call: _calibrate(call, t5, shapes, cache_shape if kv_cache else None, cache_dtype),
    )


def _calibrate(call: Call, t5: Any, shapes: G2PShapes, cache_shape: list[int] | None, cache_dtype: torch.dtype) -> None:
    """Decode some of the shipped words that the model's inputs have room for, one at a time."""
    start = special_token(t5, "decoder_start_token_id", PAD_ID)
    end = special_token(t5, "eos_token_id", EOS_ID)
    batch = shapes.batch_size
    # Without a cache each token computes all earlier ones again.
    for word in default_words()[:: 2 if cache_shape else 5]:
        prompt = encode_prompt(word.language, word.word, space=True)
        if len(prompt) > shapes.max_input_bytes:
            continue
        lengths = torch.full((batch,), len(prompt), dtype=torch.int32)
        (hidden,) = call("encoder", (torch.tensor([prompt] * batch, dtype=torch.int32), lengths))
        most = min(MOST_CALIBRATION_TOKENS, shapes.max_output_len)
        if cache_shape is None:
            fed = [start]
            while len(fed) < most and fed[-1] != end:
                ids = torch.tensor([fed] * batch, dtype=torch.int32)
                (logits,) = call("decoder", (ids, hidden, lengths))
                fed.append(int(logits[0, -1].argmax()))
            continue
        (memory,) = call("decoder_prefill", (hidden,))
        cache, row = torch.zeros(cache_shape, dtype=cache_dtype), torch.zeros(1, dtype=torch.int32)
        token = torch.tensor([start], dtype=torch.int32)
        for position in range(most):
            at = torch.tensor([position], dtype=torch.int32)
            token, _, cache = call("decoder_step", (token, row, at, lengths, cache, memory))
            if int(token) == end:
                break


def _whole_blocks(positions: int) -> int:
    return -(-positions // CACHE_BLOCK) * CACHE_BLOCK


def load(request: Mapping[str, Any], precision: Precision, progress: Progress) -> ModelFunctions:
    """Return the functions of :meth:`harness.models.g2p.workload.G2P.compilable`. Raises BadCheckpoint."""
    progress("loading the checkpoint")
    t5 = load_checkpoint(Path(request["checkpoint"]))
    cache_dtype = torch.float32 if precision == "fp32" else torch.float16
    return g2p_spec(t5, G2PShapes(**request["shapes"]), kv_cache=request["kv_cache"], cache_dtype=cache_dtype)
