"""Define T5's graph for training and compiling: fixed shapes of caches, no Python control flow on data.

The modules borrow their parameters from a transformers model, so a checkpoint is loaded, trained and
saved by transformers alone, and only the arithmetic is ours. Its result equals transformers' to float32
rounding (``tests/models/test_network.py``). Architecture: T5 v1.1 (Raffel et al. 2020, Shazeer 2020),
as ByT5 uses it (Xue et al. 2022): RMS norm before each block, no biases, no 1/sqrt(d) scaling, relative
position buckets shared by all layers, gated GELU.

Shapes: B batch, S encoder tokens, T decoder tokens, C cache capacity, D d_model, H heads, K d_kv,
V vocabulary, L decoder layers. Token ids and lengths are int32, everything else is float32 (caches may be float16).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.g2p.ops import append_and_attend, attend_memory, store_memory

MASKED = -1e9
"""Added to the scores of masked positions. It is far below any score, but finite."""


class RMSNorm(nn.Module):
    """Compute the root-mean-square norm without mean subtraction or bias."""

    def __init__(self, layer_norm: Any) -> None:
        super().__init__()
        self.weight = layer_norm.weight
        self.eps = float(layer_norm.variance_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class GatedFeedForward(nn.Module):
    """Compute ``norm``, then ``wo(gelu(wi_0 x) * wi_1 x)``, added to the residual stream."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.norm = RMSNorm(layer.layer_norm)
        dense = layer.DenseReluDense
        self.gate, self.up, self.down = dense.wi_0, dense.wi_1, dense.wo

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        hidden = F.gelu(self.gate(normed), approximate="tanh") * self.up(normed)
        return x + self.down(hidden)


class PositionBias(nn.Module):
    """Compute the relative position bias as a table over distances, so that a graph only looks it up.

    ``table()`` has shape [H, 2C - 1]; column ``C - 1 + key - query`` belongs to that distance.
    """

    def __init__(self, attention: Any, capacity: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.embedding = attention.relative_attention_bias
        self.capacity = capacity
        buckets = attention._relative_position_bucket(
            torch.arange(2 * capacity - 1) - (capacity - 1),
            bidirectional=bidirectional,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )
        self.register_buffer("buckets", buckets, persistent=False)

    def table(self) -> Tensor:
        return self.embedding.weight[self.buckets].t()

    def forward(self, length: int) -> Tensor:
        """Return the bias of every query and key below ``length``: [H, length, length]."""
        positions = torch.arange(length, device=self.embedding.weight.device)
        return self.table()[:, positions[None, :] - positions[:, None] + (self.capacity - 1)]


class Attention(nn.Module):
    """Compute multi-head attention over rows that are all available (encoder, teacher-forced decoder)."""

    def __init__(self, layer: Any, attention: Any) -> None:
        super().__init__()
        self.norm = RMSNorm(layer.layer_norm)
        self.q, self.k, self.v, self.o = attention.q, attention.k, attention.v, attention.o
        self.heads, self.d_kv = attention.n_heads, attention.key_value_proj_dim

    def split(self, x: Tensor) -> Tensor:
        """Reshape [B, S, H*K] to [B, H, S, K]."""
        batch, length, _ = x.shape
        return x.view(batch, length, self.heads, self.d_kv).transpose(1, 2)

    def forward(self, x: Tensor, bias: Tensor | None, memory: Tensor | None = None) -> Tensor:
        """Let ``x`` [B, T, D] attend to ``memory`` [B, S, D] (itself if None); ``bias`` broadcasts to [B, H, T, S]."""
        normed = self.norm(x)
        source = normed if memory is None else memory
        query, key, value = self.split(self.q(normed)), self.split(self.k(source)), self.split(self.v(source))
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        batch, length, _ = x.shape
        return x + self.o(context.transpose(1, 2).reshape(batch, length, self.heads * self.d_kv))


class Encoder(nn.Module):
    """Map ``input_ids`` [B, S], ``input_lengths`` [B] or None (no padding) to hidden states [B, S, D]."""

    def __init__(self, t5: Any, capacity: int) -> None:
        super().__init__()
        blocks = t5.encoder.block
        self.embedding = t5.shared
        self.position_bias = PositionBias(blocks[0].layer[0].SelfAttention, capacity, bidirectional=True)
        self.attentions = nn.ModuleList(Attention(b.layer[0], b.layer[0].SelfAttention) for b in blocks)
        self.feed_forwards = nn.ModuleList(GatedFeedForward(b.layer[1]) for b in blocks)
        self.norm = RMSNorm(t5.encoder.final_layer_norm)

    def forward(self, input_ids: Tensor, input_lengths: Tensor | None = None) -> Tensor:
        x = self.embedding(input_ids)
        bias = self.position_bias(input_ids.shape[1])[None]
        if input_lengths is not None:
            bias = bias + length_mask(input_ids.shape[1], input_lengths)
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            x = feed_forward(attention(x, bias))
        return self.norm(x)


class Decoder(nn.Module):
    """Run the whole decoder at once, without a cache: logits [B, T, V] for ``decoder_input_ids`` [B, T]."""

    def __init__(self, t5: Any, capacity: int) -> None:
        super().__init__()
        blocks = t5.decoder.block
        self.embedding = t5.shared
        self.position_bias = PositionBias(blocks[0].layer[0].SelfAttention, capacity, bidirectional=False)
        self.self_attentions = nn.ModuleList(Attention(b.layer[0], b.layer[0].SelfAttention) for b in blocks)
        self.cross_attentions = nn.ModuleList(Attention(b.layer[1], b.layer[1].EncDecAttention) for b in blocks)
        self.feed_forwards = nn.ModuleList(GatedFeedForward(b.layer[2]) for b in blocks)
        self.head = LogitsHead(t5)

    def forward(self, decoder_input_ids: Tensor, encoder_hidden: Tensor, input_lengths: Tensor | None = None) -> Tensor:
        x = self.embedding(decoder_input_ids)
        length = decoder_input_ids.shape[1]
        positions = torch.arange(length, device=x.device)
        future = masked(positions[None, :] > positions[:, None])
        bias = (self.position_bias(length) + future)[None]
        cross_bias = None if input_lengths is None else length_mask(encoder_hidden.shape[1], input_lengths)
        layers = zip(self.self_attentions, self.cross_attentions, self.feed_forwards, strict=True)
        for self_attention, cross_attention, feed_forward in layers:
            x = feed_forward(cross_attention(self_attention(x, bias), cross_bias, encoder_hidden))
        return self.head(x)


class LogitsHead(nn.Module):
    """Apply the final norm and the projection to the vocabulary: [..., D] to [..., V]."""

    def __init__(self, t5: Any) -> None:
        super().__init__()
        self.norm = RMSNorm(t5.decoder.final_layer_norm)
        self.projection = t5.lm_head
        self.scale = t5.config.d_model**-0.5 if t5.config.scale_decoder_outputs else 1.0

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return self.projection(normed if self.scale == 1.0 else normed * self.scale)


class DecoderPrefill(nn.Module):
    """Compute keys and values of the encoder's states for every decoder layer, once per word.

    One product over all layers: ``encoder_hidden`` [B, S, D] to memory [B, L, 2, capacity * H*K] (2: keys, values)
    in ``dtype``.
    """

    def __init__(self, t5: Any, capacity: int, dtype: torch.dtype) -> None:
        super().__init__()
        attentions = [b.layer[1].EncDecAttention for b in t5.decoder.block]
        self.layers, self.heads = len(attentions), attentions[0].n_heads
        self.capacity, self.dtype = capacity, dtype
        self.weight = nn.Parameter(torch.cat([p.weight for a in attentions for p in (a.k, a.v)]).detach())

    def forward(self, encoder_hidden: Tensor) -> Tensor:
        batch, length, _ = encoder_hidden.shape
        source = F.linear(encoder_hidden, self.weight).reshape(batch, length, self.layers, 2, -1)
        return store_memory(source, self.heads, self.capacity, self.dtype)


class DecoderStep(nn.Module):
    """Decode one greedy token for every word still being decoded, over caches of the whole batch.

    The inputs are ``token_ids`` [b], ``rows`` [b] (each token's row of the batch), ``position`` [1], ``input_lengths``
    [B], ``self_cache`` [B, L, 2, C * H*K], and ``memory`` (the result of :class:`DecoderPrefill`). The results are the
    next token ids int32[b], logits [b, V] and the cache with this position written. torch returns a new cache; the
    compiled model writes into the one it got.
    """

    def __init__(self, t5: Any, capacity: int) -> None:
        super().__init__()
        blocks = t5.decoder.block
        first = blocks[0].layer[0].SelfAttention
        self.embedding = t5.shared
        self.heads = first.n_heads
        self.head = LogitsHead(t5)
        bias = PositionBias(first, capacity, bidirectional=False).table().detach()
        # The table's first C columns are the distances into the past; the rest is never read.
        self.distance_bias = nn.Parameter(F.pad(bias[:, :capacity], (0, capacity)).contiguous())
        self.self_norms = nn.ModuleList(RMSNorm(b.layer[0].layer_norm) for b in blocks)
        self.cross_norms = nn.ModuleList(RMSNorm(b.layer[1].layer_norm) for b in blocks)
        self.qkv = nn.ParameterList(
            nn.Parameter(torch.cat([getattr(b.layer[0].SelfAttention, n).weight for n in "qkv"]).detach())
            for b in blocks
        )
        self.self_out = nn.ModuleList(b.layer[0].SelfAttention.o for b in blocks)
        self.cross_q = nn.ModuleList(b.layer[1].EncDecAttention.q for b in blocks)
        self.cross_out = nn.ModuleList(b.layer[1].EncDecAttention.o for b in blocks)
        self.feed_forwards = nn.ModuleList(GatedFeedForward(b.layer[2]) for b in blocks)

    def forward(
        self,
        token_ids: Tensor,
        rows: Tensor,
        position: Tensor,
        input_lengths: Tensor,
        self_cache: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embedding(token_ids)
        for layer, feed_forward in enumerate(self.feed_forwards):
            qkv = F.linear(self.self_norms[layer](x), self.qkv[layer])
            context, self_cache = append_and_attend(
                qkv, self.distance_bias, rows, position, self_cache, layer, self.heads
            )
            x = x + self.self_out[layer](context)
            query = self.cross_q[layer](self.cross_norms[layer](x))
            x = x + self.cross_out[layer](attend_memory(query, rows, input_lengths, memory, layer, self.heads))
            x = feed_forward(x)
        logits = self.head(x)
        return logits.argmax(-1).to(torch.int32), logits, self_cache


def length_mask(length: int, lengths: Tensor) -> Tensor:
    """Return an additive mask [B, 1, 1, length] that hides positions beyond each row's own length."""
    return masked(torch.arange(length, device=lengths.device)[None, :] >= lengths[:, None])[:, None, None, :]


def masked(hidden: Tensor) -> Tensor:
    """Return MASKED where ``hidden``, zero elsewhere (a bool times a float becomes a bool in TVM's importer)."""
    return torch.where(hidden, MASKED, 0.0)
