"""Build a described decoder in the form in which it is compiled: rows of tokens over a cache of earlier positions.

Both functions have the same blocks. The prefill takes many rows and computes no logits. The step takes one row and ends
in the next token. So a prompt's last token is the first step's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models.language.description import Decoder, Rotary
from harness.models.language.ops import attend_causally
from harness.models.language.weights import Weights


class Norm(nn.Module):
    """Normalise by the root mean square, or by mean and deviation, over the last axis."""

    def __init__(self, decoder: Decoder, weights: Weights, name: str) -> None:
        super().__init__()
        self.eps, self.kind = decoder.eps, decoder.norm
        gain = weights.take(f"{name}.weight", (decoder.width,)) + decoder.norm_offset
        self.gain = nn.Parameter(gain, requires_grad=False)
        shift = weights.take(f"{name}.bias", (decoder.width,)) if self.kind == "layer" else None
        self.shift = None if shift is None else nn.Parameter(shift, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "layer":
            return F.layer_norm(x, x.shape[-1:], self.gain, self.shift, self.eps)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.gain


class Linear(nn.Module):
    """Multiply by a weight [outputs, inputs], and add a bias if there is one."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


class Block(nn.Module):
    """Hold one layer: attention and feed-forward, each after its norm and added to the stream."""

    def __init__(self, decoder: Decoder, weights: Weights, layer: int) -> None:
        super().__init__()
        self.decoder, self.layer = decoder, layer
        make = _gpt2_layers if decoder.family == "gpt2" else _rotating_layers
        self.norm, self.qkv, self.out, self.ff_norm, self.gate, self.up, self.down = make(decoder, weights, layer)
        self.norms: Tensor | None
        self.register_buffer("norms", _head_norms(decoder, weights, layer))

    def forward(self, x: Tensor, rotation: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        context, cache = self.attend(x, rotation, position, cache)
        x = x + self.out(context)
        normed = self.ff_norm(x)
        hidden = ACTIVATIONS[self.decoder.activation](self.up(normed) if self.gate is None else self.gate(normed))
        if self.gate is not None:
            hidden = hidden * self.up(normed)
        return x + self.down(hidden), cache

    def attend(self, x: Tensor, rotation: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heads' context, and the cache with the rows' keys and values."""
        one, qkv = self.decoder, self.qkv(self.norm(x))
        found: tuple[Tensor, Tensor] = attend_causally(
            qkv,
            rotation,
            self.norms,
            position,
            cache,
            self.layer,
            one.heads,
            one.kv_heads,
            one.window(self.layer),
            one.eps,
        )
        return found


Layers = tuple[Norm, Linear, Linear, Norm, Linear | None, Linear, Linear]


def _rotating_layers(decoder: Decoder, weights: Weights, layer: int) -> Layers:
    prefix = f"model.layers.{layer}."

    def linear(name: str, rows: int, depth: int, *, bias: bool) -> Linear:
        stored = f"{prefix}{name}_proj"
        return Linear(
            weights.take(f"{stored}.weight", (rows, depth)), weights.take(f"{stored}.bias", (rows,)) if bias else None
        )

    width, hidden = decoder.width, decoder.hidden
    sizes = (("q", decoder.queries), ("k", decoder.keys), ("v", decoder.keys))
    parts = [linear(f"self_attn.{name}", rows, width, bias=decoder.qkv_bias) for name, rows in sizes]
    biases = [part.bias for part in parts if part.bias is not None]
    return (
        Norm(decoder, weights, f"{prefix}input_layernorm"),
        Linear(torch.cat(tuple(part.weight for part in parts)), torch.cat(tuple(biases)) if biases else None),
        linear("self_attn.o", width, decoder.queries, bias=decoder.out_bias),
        Norm(decoder, weights, f"{prefix}post_attention_layernorm"),
        linear("mlp.gate", hidden, width, bias=decoder.ff_bias),
        linear("mlp.up", hidden, width, bias=decoder.ff_bias),
        linear("mlp.down", width, hidden, bias=decoder.ff_bias),
    )


def _gpt2_layers(decoder: Decoder, weights: Weights, layer: int) -> Layers:
    prefix = f"transformer.h.{layer}."

    def linear(name: str, depth: int, rows: int) -> Linear:
        weight = weights.take(f"{prefix}{name}.weight", (depth, rows))
        return Linear(weight.t().contiguous(), weights.take(f"{prefix}{name}.bias", (rows,)))

    width, hidden = decoder.width, decoder.hidden
    return (
        Norm(decoder, weights, f"{prefix}ln_1"),
        linear("attn.c_attn", width, 3 * width),
        linear("attn.c_proj", width, width),
        Norm(decoder, weights, f"{prefix}ln_2"),
        None,
        linear("mlp.c_fc", width, hidden),
        linear("mlp.c_proj", hidden, width),
    )


def _head_norms(decoder: Decoder, weights: Weights, layer: int) -> Tensor | None:
    if not decoder.head_norms:
        return None
    name = f"model.layers.{layer}.self_attn"
    return torch.stack([weights.take(f"{name}.{one}_norm.weight", (decoder.head_size,)) for one in "qk"])


class Blocks(nn.Module):
    """Hold the embedding and all blocks."""

    def __init__(self, decoder: Decoder, weights: Weights, capacity: int) -> None:
        super().__init__()
        self.decoder = decoder
        gpt2 = decoder.family == "gpt2"
        table = weights.take(
            "transformer.wte.weight" if gpt2 else "model.embed_tokens.weight", (decoder.vocab_size, decoder.width)
        )
        self.table = nn.Parameter(table, requires_grad=False)
        places = weights.take("transformer.wpe.weight", (decoder.context, decoder.width)) if gpt2 else None
        self.places = None if places is None else nn.Parameter(places[:capacity].clone(), requires_grad=False)
        self.rotation: Tensor
        self.register_buffer("rotation", rotation(decoder, capacity))
        self.blocks = nn.ModuleList(Block(decoder, weights, layer) for layer in range(decoder.layers))

    def embedded(self, token_ids: Tensor, position: Tensor) -> Tensor:
        x = F.embedding(token_ids, self.table)
        if self.decoder.embedding_scale != 1.0:
            x = x * self.decoder.embedding_scale
        if self.places is not None:
            x = x + F.embedding(position + torch.arange(token_ids.shape[0], dtype=torch.int32), self.places)
        return x


class Prefill(nn.Module):
    """Write a prompt's keys and values: ``token_ids`` int32[T], ``position`` int32[1] of the first, ``cache``."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.inner = blocks

    def forward(self, token_ids: Tensor, position: Tensor, cache: Tensor) -> Tensor:
        x = self.inner.embedded(token_ids, position)
        *before, last = self.inner.blocks
        for block in before:
            x, cache = block(x, self.inner.rotation, position, cache)
        # Nothing of a prompt's rows is needed behind the last layer's keys and values.
        assert isinstance(last, Block)
        return last.attend(x, self.inner.rotation, position, cache)[1]


class Head(nn.Module):
    """Compute the logits with a weight [V, width] that may be the embedding's own parameter."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class Step(nn.Module):
    """Decode one token: ``token_ids`` int32[1] at ``position`` to the next one, the logits [1, V] and the cache."""

    def __init__(self, blocks: Blocks, weights: Weights) -> None:
        super().__init__()
        self.inner = blocks
        decoder = blocks.decoder
        self.norm = Norm(decoder, weights, "transformer.ln_f" if decoder.family == "gpt2" else "model.norm")
        shape = (decoder.vocab_size, decoder.width)
        self.head = Head(
            blocks.table if decoder.tied else nn.Parameter(weights.take("lm_head.weight", shape), requires_grad=False)
        )

    def forward(self, token_ids: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.inner.embedded(token_ids, position)
        for block in self.inner.blocks:
            x, cache = block(x, self.inner.rotation, position, cache)
        logits = self.head(self.norm(x))
        return logits.argmax(-1).to(torch.int32), logits, cache


def rotation(decoder: Decoder, capacity: int) -> Tensor:
    """Return [capacity, head size]: cosines, then sines, of each position's angles. No columns without rotary ones."""
    if decoder.rotary is None:
        return torch.zeros(capacity, 0)
    angles = torch.arange(capacity, dtype=torch.float32)[:, None] * frequencies(decoder.rotary, decoder.head_size)
    return torch.cat((angles.cos(), angles.sin()), -1)


def frequencies(rotary: Rotary, size: int) -> Tensor:
    """Return the angle a position of each pair, in float32 as transformers computes it."""
    found = 1.0 / (rotary.theta ** (torch.arange(0, size, 2, dtype=torch.int64).to(torch.float32) / size))
    if rotary.scaling == "linear":
        return found / rotary.factor
    if rotary.scaling == "llama3":
        # Long waves are slowed by the factor, short ones are left, and those between are mixed.
        waves = 2 * math.pi / found
        long, short = rotary.original / rotary.low, rotary.original / rotary.high
        share = (rotary.original / waves - rotary.low) / (rotary.high - rotary.low)
        mixed = (1 - share) * found / rotary.factor + share * found
        found = torch.where(waves > long, found / rotary.factor, torch.where(waves < short, found, mixed))
    return found
