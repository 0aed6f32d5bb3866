"""Hold published configurations of language models, for models with weights made here: ``random:NAME``.

A configuration's numbers are facts. No weights are fetched: they are drawn from a seed (:mod:`.weights`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _llama(width: int, layers: int, heads: int, kv: int, hidden: int, vocab: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    known = {"num_key_value_heads": kv, "intermediate_size": hidden, "vocab_size": vocab, "hidden_act": "silu"}
    return {"model_type": "llama", **sizes, **known, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, **more}


def _qwen(kind: str, *sizes: int, **more: Any) -> dict[str, Any]:
    return _llama(*sizes, model_type=kind, rms_norm_eps=1e-6, rope_theta=1e6, **more)


_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _gemma(kind: str, *sizes: int, head_dim: int = 256, **more: Any) -> dict[str, Any]:
    known = {"rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "head_dim": head_dim}
    return {**_llama(*sizes), "hidden_act": None, **known, "model_type": kind, "query_pre_attn_scalar": 256, **more}


def _phi(width: int, layers: int, heads: int, hidden: int, vocab: int, share: float) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": vocab}
    known = {"intermediate_size": hidden, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5}
    return {"model_type": "phi", **sizes, **known, "partial_rotary_factor": share, "tie_word_embeddings": False}


_GEMMA3: dict[str, Any] = {
    "sliding_window": 512,
    "rope_theta": 1e6,
    "rope_local_base_freq": 10000.0,
    "max_position_embeddings": 32768,
}

CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "tiny-llama": _llama(64, 2, 4, 2, 128, 256, max_position_embeddings=512),
    "tiny-qwen3": _qwen("qwen3", 64, 2, 4, 2, 128, 256, head_dim=32, max_position_embeddings=512),
    "tiny-gemma2": _gemma("gemma2", 64, 2, 4, 2, 128, 256, head_dim=32, sliding_window=16, max_position_embeddings=512),
    "tiny-gemma3": _gemma("gemma3_text", 64, 6, 4, 1, 128, 256, head_dim=32, **{**_GEMMA3, "sliding_window": 16}),
    "tiny-phi": _phi(64, 2, 4, 128, 256, 0.5),
    "smollm2-135m": _llama(576, 30, 9, 3, 1536, 49152, rope_theta=1e5, max_position_embeddings=8192),
    "smollm2-360m": _llama(960, 32, 15, 5, 2560, 49152, rope_theta=1e5, max_position_embeddings=8192),
    "smollm2-1.7b": _llama(2048, 24, 32, 32, 8192, 49152, rope_theta=130000.0, max_position_embeddings=8192),
    "tinyllama-1.1b": _llama(
        2048, 22, 32, 4, 5632, 32000, max_position_embeddings=2048, tie_word_embeddings=False
    ),
    "llama-3.2-1b": _llama(
        2048, 16, 32, 8, 8192, 128256,
        head_dim=64, rope_theta=500000.0, rope_scaling=_LLAMA3, max_position_embeddings=131072,
    ),
    "qwen2.5-0.5b": _qwen("qwen2", 896, 24, 14, 2, 4864, 151936, max_position_embeddings=32768),
    "qwen2.5-1.5b": _qwen("qwen2", 1536, 28, 12, 2, 8960, 151936, max_position_embeddings=131072),
    "qwen3-0.6b": _qwen("qwen3", 1024, 28, 16, 8, 3072, 151936, head_dim=128, max_position_embeddings=40960),
    "qwen3-1.7b": _qwen("qwen3", 2048, 28, 16, 8, 6144, 151936, head_dim=128, max_position_embeddings=40960),
    "gpt2": {
        "model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
    },
    "gemma-2b": {
        "model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 8,
        "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 16384, "vocab_size": 256000,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
    },
    "gemma-2-2b": _gemma(
        "gemma2", 2304, 26, 8, 4, 9216, 256000, sliding_window=4096, max_position_embeddings=8192,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
    ),
    "gemma-3-270m": _gemma("gemma3_text", 640, 18, 4, 1, 2048, 262144, **_GEMMA3),
    "gemma-3-1b": _gemma("gemma3_text", 1152, 26, 4, 1, 6912, 262144, **_GEMMA3),
    "phi-1.5": _phi(2048, 24, 32, 8192, 51200, 0.5),
    "phi-2": _phi(2560, 32, 32, 10240, 51200, 0.4),
}  # fmt: skip
"""The configurations by their names. Those that begin with ``tiny`` are no published ones, but fit into a test."""
