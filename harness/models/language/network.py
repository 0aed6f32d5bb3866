"""Build a described decoder in the form in which it is compiled: rows of tokens over a cache of earlier positions.

Both functions have the same blocks. The prefill takes many rows and computes no logits. The step takes one row and ends
in the next token. So a prompt's last token is the first step's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models.language.description import Decoder
from harness.models.language.ops import attend_causally
from harness.models.language.rotary import rotation
from harness.models.language.weights import Weights, final_norm, norm_names


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
        make = _gpt2_layer if decoder.family == "gpt2" else _layer
        made = make(decoder, weights, layer)
        self.norm, self.post_norm, self.ff_norm, self.ff_post_norm = made.norms
        self.qkv, self.out, self.gate, self.up, self.down = made.qkv, made.out, made.gate, made.up, made.down
        self.norms: Tensor | None
        self.register_buffer("norms", _head_norms(decoder, weights, layer))

    def forward(self, x: Tensor, rotation: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        normed = self.norm(x)
        context, cache = self.attend(normed, rotation, position, cache)
        attended = self.out(context)
        if self.ff_norm is None:
            return x + attended + self.feed(normed), cache
        x = x + (attended if self.post_norm is None else self.post_norm(attended))
        fed = self.feed(self.ff_norm(x))
        return x + (fed if self.ff_post_norm is None else self.ff_post_norm(fed)), cache

    def feed(self, normed: Tensor) -> Tensor:
        """Return what the feed-forward computes of normed rows."""
        hidden = ACTIVATIONS[self.decoder.activation](self.up(normed) if self.gate is None else self.gate(normed))
        if self.gate is not None:
            hidden = hidden * self.up(normed)
        fed: Tensor = self.down(hidden)
        return fed

    def attend(self, normed: Tensor, rotation: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heads' context, and the cache with the rows' keys and values."""
        one = self.decoder
        found: tuple[Tensor, Tensor] = attend_causally(
            self.qkv(normed),
            rotation,
            self.norms,
            position,
            cache,
            self.layer,
            one.heads,
            one.kv_heads,
            one.window(self.layer),
            one.eps,
            one.score_cap,
        )
        return found


@dataclass(frozen=True)
class Layer:
    """Hold the parts of one layer. ``norms`` come before and after attention, before and after the feed-forward."""

    norms: tuple[Norm, Norm | None, Norm | None, Norm | None]
    qkv: Linear
    out: Linear
    gate: Linear | None
    up: Linear
    down: Linear


def _layer(decoder: Decoder, weights: Weights, layer: int) -> Layer:
    prefix = f"model.layers.{layer}."

    def linear(name: str, rows: int, depth: int, *, bias: bool) -> Linear:
        stored = f"{prefix}{name}"
        return Linear(
            weights.take(f"{stored}.weight", (rows, depth)), weights.take(f"{stored}.bias", (rows,)) if bias else None
        )

    width, hidden, bias = decoder.width, decoder.hidden, decoder.ff_bias
    gate: Linear | None = None
    if decoder.parallel:
        up, down = linear("mlp.fc1", hidden, width, bias=bias), linear("mlp.fc2", width, hidden, bias=bias)
    else:
        if decoder.fused:
            both = weights.take(f"{prefix}mlp.gate_up_proj.weight", (2 * hidden, width))
            gate, up = (Linear(part.contiguous(), None) for part in both.chunk(2))
        else:
            gate, up = (linear(f"mlp.{name}_proj", hidden, width, bias=bias) for name in ("gate", "up"))
        down = linear("mlp.down_proj", width, hidden, bias=bias)
    norms = [Norm(decoder, weights, prefix + name) for name in norm_names(decoder)]
    first, *others = norms
    last = others if decoder.post_norms else [None, *others, *[None] * (2 - len(others))]
    return Layer(
        norms=(first, last[0], last[1], last[2]),
        qkv=_qkv(decoder, weights, prefix),
        out=linear(
            f"self_attn.{'dense' if decoder.parallel else 'o_proj'}", width, decoder.queries, bias=decoder.out_bias
        ),
        gate=gate,
        up=up,
        down=down,
    )


def _qkv(decoder: Decoder, weights: Weights, prefix: str) -> Linear:
    """Return one matrix of queries, keys and values, with the elements of a head in the order of the rotation."""
    sizes, width = (decoder.queries, decoder.keys, decoder.keys), decoder.width
    if decoder.fused:
        stored = weights.take(f"{prefix}self_attn.qkv_proj.weight", (sum(sizes), width))
        parts, biases = list(torch.split(stored, list(sizes))), []
    else:
        names = [f"{prefix}self_attn.{name}_proj" for name in "qkv"]
        parts = [weights.take(f"{name}.weight", (rows, width)) for name, rows in zip(names, sizes, strict=True)]
        biases = (
            [weights.take(f"{name}.bias", (rows,)) for name, rows in zip(names, sizes, strict=True)]
            if decoder.qkv_bias
            else []
        )
    for tensors in filter(None, (parts, biases)):
        tensors[0], tensors[1] = (_ordered(tensor, decoder) for tensor in tensors[:2])
        if not decoder.head_norms and decoder.query_scale != 1.0:
            tensors[0] = tensors[0] * decoder.query_scale
    return Linear(torch.cat(parts), torch.cat(biases) if biases else None)


def _ordered(x: Tensor, decoder: Decoder) -> Tensor:
    """Return queries or keys (heads * size first) with the pairs that are turned half a head apart.

    Of a head whose first elements are turned, those that are not follow each half of them. Products of queries and
    keys stay the same, since both are ordered alike.
    """
    if decoder.rotary is None or not decoder.rotary.size:
        return x
    size, half, turned = decoder.head_size, decoder.head_size // 2, decoder.rotary.size // 2
    rest = list(range(2 * turned, size))
    order = [*range(turned), *rest[: half - turned], *range(turned, 2 * turned), *rest[half - turned :]]
    return x.view(-1, size, *x.shape[1:])[:, order].reshape(x.shape)


def _gpt2_layer(decoder: Decoder, weights: Weights, layer: int) -> Layer:
    prefix = f"transformer.h.{layer}."

    def linear(name: str, depth: int, rows: int) -> Linear:
        weight = weights.take(f"{prefix}{name}.weight", (depth, rows))
        return Linear(weight.t().contiguous(), weights.take(f"{prefix}{name}.bias", (rows,)))

    width, hidden = decoder.width, decoder.hidden
    return Layer(
        norms=(Norm(decoder, weights, f"{prefix}ln_1"), None, Norm(decoder, weights, f"{prefix}ln_2"), None),
        qkv=linear("attn.c_attn", width, 3 * width),
        out=linear("attn.c_proj", width, width),
        gate=None,
        up=linear("mlp.c_fc", width, hidden),
        down=linear("mlp.c_proj", hidden, width),
    )


def _head_norms(decoder: Decoder, weights: Weights, layer: int) -> Tensor | None:
    if not decoder.head_norms:
        return None
    name = f"model.layers.{layer}.self_attn"
    query, key = (weights.take(f"{name}.{one}_norm.weight", (decoder.head_size,)) + decoder.norm_offset for one in "qk")
    return torch.stack([query * decoder.query_scale, key])


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
        self.register_buffer("rotation", rotation(decoder.head_size, decoder.rotary, capacity))
        self.window_rotation: Tensor | None
        turns = decoder.window_rotary
        self.register_buffer("window_rotation", None if turns is None else rotation(decoder.head_size, turns, capacity))
        self.blocks = nn.ModuleList(Block(decoder, weights, layer) for layer in range(decoder.layers))

    def turned(self, layer: int) -> Tensor:
        """Return the rotation of a layer; see :func:`.rotary.rotation`."""
        windowed = self.window_rotation is not None and self.decoder.window(layer)
        return self.window_rotation if windowed and self.window_rotation is not None else self.rotation

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
        for number, block in enumerate(before):
            x, cache = block(x, self.inner.turned(number), position, cache)
        # Nothing of a prompt's rows is needed behind the last layer's keys and values.
        assert isinstance(last, Block)
        return last.attend(last.norm(x), self.inner.turned(len(before)), position, cache)[1]


class Head(nn.Module):
    """Compute the logits with a weight [V, width] that may be the embedding's own parameter."""

    def __init__(self, weight: nn.Parameter, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Step(nn.Module):
    """Decode one token: ``token_ids`` int32[1] at ``position`` to the next one, the logits [1, V] and the cache."""

    def __init__(self, blocks: Blocks, weights: Weights) -> None:
        super().__init__()
        self.inner = blocks
        decoder = blocks.decoder
        self.norm = Norm(decoder, weights, final_norm(decoder))
        shape = (decoder.vocab_size, decoder.width)
        self.head = Head(
            blocks.table if decoder.tied else nn.Parameter(weights.take("lm_head.weight", shape), requires_grad=False),
            weights.take("lm_head.bias", shape[:1]) if decoder.head_bias else None,
        )

    def forward(self, token_ids: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.inner.embedded(token_ids, position)
        for number, block in enumerate(self.inner.blocks):
            x, cache = block(x, self.inner.turned(number), position, cache)
        logits = self.head(self.norm(x))
        if cap := self.inner.decoder.logit_cap:
            logits = cap * torch.tanh(logits / cap)
        return logits.argmax(-1).to(torch.int32), logits, cache
