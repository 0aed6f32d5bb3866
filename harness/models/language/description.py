"""Describe a decoder-only language model by its blocks. One description covers all families.

Imports no PyTorch, since the main process looks at models too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.models.language.config_keys import Activation


@dataclass(frozen=True)
class Rotary:
    """Hold rotary positions: pairs of a head's elements are turned by angles that grow with the position."""

    theta: float
    scaling: Literal["default", "linear", "llama3", "yarn"] = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192
    """The last three belong to ``llama3``: low and high frequency factors, and the context of the training before.

    For ``yarn``, the first two are the turns within that context below and above which a pair is slowed and left.
    """
    size: int = 0
    """So many of a head's elements are turned, the first ones; 0 means all."""
    gain: float = 1.0
    """By this the elements that are turned are multiplied."""


@dataclass(frozen=True)
class Decoder:
    """Describe all blocks of a decoder-only model. Sizes are in elements; heads count queries."""

    family: str
    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    """The width inside the feed-forward."""
    context: int
    """The positions that the model was made for."""
    eps: float
    activation: Activation
    norm: Literal["rms", "layer"] = "rms"
    norm_offset: float = 0.0
    """Is added to a norm's stored gain: Gemma stores it less one."""
    gated: bool = True
    rotary: Rotary | None = None
    """None means learned positions, which are added to the embeddings."""
    window_rotary: Rotary | None = None
    """The positions of layers with a window, if they have others."""
    windows: tuple[int, ...] = ()
    """The positions that each layer sees, itself included; 0 means all. Empty means all everywhere."""
    qkv_bias: bool = False
    out_bias: bool = False
    ff_bias: bool = False
    head_norms: bool = False
    """Whether queries and keys have a norm of their own in each head."""
    query_scale: float = 1.0
    """By this the scores of attention differ from the usual ones, which are divided by the root of the head's size."""
    score_cap: float = 0.0
    """A score x becomes cap * tanh(x / cap), so that it stays within the cap; 0 means that it is left."""
    logit_cap: float = 0.0
    """The same for the logits."""
    post_norms: bool = False
    """Whether what attention and the feed-forward compute has a norm before it is added."""
    parallel: bool = False
    """Whether attention and the feed-forward read the same norm, and are added together."""
    fused: bool = False
    """Whether the stored matrices of queries, keys and values are one, and those of gate and up another."""
    head_bias: bool = False
    tied: bool = False
    """Whether the head is the embedding's table."""
    embedding_scale: float = 1.0

    def window(self, layer: int) -> int:
        return self.windows[layer] if self.windows else 0

    def turns(self, layer: int) -> Rotary | None:
        """Return the rotary positions of a layer."""
        return self.window_rotary if self.window_rotary is not None and self.window(layer) else self.rotary

    @property
    def queries(self) -> int:
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        return self.kv_heads * self.head_size

    def cache_shape(self, capacity: int) -> list[int]:
        """Return the extents of a cache of so many positions: layers, keys and values, elements."""
        return [self.layers, 2, capacity * self.keys]

    @property
    def parameters(self) -> int:
        """Return the number of weights, each counted once."""
        gates, norm = 2 if self.gated else 1, self.width * (2 if self.norm == "layer" else 1)
        layer = self.width * (2 * self.queries + 2 * self.keys) + (gates + 1) * self.width * self.hidden
        layer += norm * (1 if self.parallel else 4 if self.post_norms else 2)
        layer += 2 * self.head_size if self.head_norms else 0
        layer += (self.queries + 2 * self.keys if self.qkv_bias else 0) + (self.width if self.out_bias else 0)
        layer += gates * self.hidden + self.width if self.ff_bias else 0
        tables = self.vocab_size * (1 if self.tied else 2) + (self.context if self.rotary is None else 0)
        return self.layers * layer + tables * self.width + norm + (self.vocab_size if self.head_bias else 0)
