"""Count how many bytes and multiply-adds a word costs at least, from the model's dimensions. Pure functions.

Counted are weights, key and value caches and embedding rows, each read once where it is needed; activations stay in
the nearest cache and are left out. S encoder tokens, T generated tokens, D d_model, G heads times d_kv, F d_ff.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Dimensions:
    """Hold the dimensions of a T5 v1.1 model with gated feed-forward layers."""

    d_model: int
    inner: int
    """heads times d_kv"""
    d_ff: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int


def read_dimensions(checkpoint: Path) -> Dimensions:
    """From the folder's ``config.json``; raises UsageError for a feed-forward layer that is not gated."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    if not str(config["feed_forward_proj"]).startswith("gated"):
        raise UsageError(
            f"{checkpoint} has no gated feed-forward layers", cure="count T5 v1.1 checkpoints such as ByT5"
        )
    return Dimensions(
        d_model=config["d_model"],
        inner=config["num_heads"] * config["d_kv"],
        d_ff=config["d_ff"],
        encoder_layers=config["num_layers"],
        decoder_layers=config["num_decoder_layers"],
        vocabulary=config["vocab_size"],
    )


@dataclass(frozen=True)
class Storage:
    """How a variant keeps its numbers: bytes of one weight, of one output column's scale, of one cached number."""

    weight: int
    scale: int = 0
    cached: int = FLOAT32_BYTES


STORAGE = {"fp32": Storage(4), "fp16": Storage(2), "int8": Storage(1, scale=4)}
"""Embedding rows are float32 in every variant; what the caches hold is the archive's own choice."""
CACHED_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True)
class Cost:
    """``bytes`` read from or written to memory, ``macs`` multiply-adds."""

    bytes: int = 0
    macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.bytes + other.bytes, self.macs + other.macs)


@dataclass(frozen=True)
class Matrix:
    """A weight [depth, width]."""

    depth: int
    width: int

    def cost(self, rows: int, storage: Storage) -> Cost:
        """Return the cost of multiplying ``rows`` rows with it, reading it once."""
        size = self.depth * self.width
        return Cost(size * storage.weight + self.width * storage.scale, rows * size)


@dataclass(frozen=True)
class WordCost:
    encoder: Cost
    prefill: Cost
    steps: Cost
    """All steps together."""

    @property
    def total(self) -> Cost:
        return self.encoder + self.prefill + self.steps


def word_cost(d: Dimensions, storage: Storage, input_tokens: int, output_tokens: int) -> WordCost:
    """Return the cost of one word of S input tokens and T steps."""
    steps = Cost()
    for position in range(output_tokens):
        steps += step_cost(d, storage, input_tokens, position)
    return WordCost(encoder_cost(d, storage, input_tokens), prefill_cost(d, storage, input_tokens), steps)


def encoder_cost(d: Dimensions, storage: Storage, tokens: int) -> Cost:
    """Return the cost of every layer's projections over S rows, and of S x S scores and contexts."""
    cost = Cost(bytes=tokens * d.d_model * FLOAT32_BYTES)
    layer = [*_self_attention(d), *_feed_forward(d)]
    for _ in range(d.encoder_layers):
        cost += _products(layer, tokens, storage) + Cost(macs=2 * tokens * tokens * d.inner)
    return cost


def prefill_cost(d: Dimensions, storage: Storage, tokens: int) -> Cost:
    """Keys and values of the encoder's S rows for every decoder layer, and writing them."""
    product = Matrix(d.d_model, 2 * d.inner * d.decoder_layers).cost(tokens, storage)
    return product + Cost(bytes=2 * d.inner * d.decoder_layers * tokens * storage.cached)


def step_cost(d: Dimensions, storage: Storage, tokens: int, position: int) -> Cost:
    """Return the cost of one token at ``position``: all weights, ``position + 1`` own and S encoder keys and values."""
    layer = [*_self_attention(d), Matrix(d.d_model, d.inner), Matrix(d.inner, d.d_model), *_feed_forward(d)]
    attended = 2 * d.inner * (position + 1 + tokens)
    cost = Cost(bytes=d.d_model * FLOAT32_BYTES) + Matrix(d.d_model, d.vocabulary).cost(1, storage)
    for _ in range(d.decoder_layers):
        cost += _products(layer, 1, storage) + Cost(bytes=attended * storage.cached, macs=attended)
    return cost


def _self_attention(d: Dimensions) -> list[Matrix]:
    return [Matrix(d.d_model, d.inner)] * 3 + [Matrix(d.inner, d.d_model)]


def _feed_forward(d: Dimensions) -> list[Matrix]:
    return [Matrix(d.d_model, d.d_ff)] * 2 + [Matrix(d.d_ff, d.d_model)]


def _products(matrices: list[Matrix], rows: int, storage: Storage) -> Cost:
    return sum((matrix.cost(rows, storage) for matrix in matrices), Cost())


@dataclass(frozen=True)
class Bound:
    """What a cost takes at least, in nanoseconds: reading and computing one after the other."""

    memory_ns: float
    arithmetic_ns: float

    @property
    def total_ns(self) -> float:
        return self.memory_ns + self.arithmetic_ns

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.memory_ns + other.memory_ns, self.arithmetic_ns + other.arithmetic_ns)


def bound(cost: Cost, bytes_per_second: float, macs_per_second: float) -> Bound:
    return Bound(cost.bytes / bytes_per_second * 1e9, cost.macs / macs_per_second * 1e9)
