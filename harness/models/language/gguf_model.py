"""Describe the model of a GGUF file as a Hugging Face configuration, and find its weights by transformers' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.models.language.config_keys import UnknownPart
from harness.models.language.gguf import Floats, Gguf

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""llama.cpp's names of the families that are read. Mistral's models are of its ``llama``."""
SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
"""The configuration's key of each key of the metadata, which begins with the architecture's name."""
READ = ("attention.value_length", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor", "vocab_size")
"""Further keys, which are checked."""
IGNORED = ("rope.scaling.original_context_length", "rope.scaling.finetuned")
TOKENS, STOPS = "tokenizer.ggml.tokens", ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
EMBEDDING, HEAD, FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"
LLAMA3_FACTORS = (8.0, 32.0)
"""The factors of Llama 3.1 and of 3.2. Their files have what results for each pair of elements instead."""
LOW, HIGH, ORIGINAL = 1.0, 4.0, 8192
"""The other numbers of ``llama3`` positions, the same in all models."""
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "attn_output",
    **{f"self_attn.{one}_proj": f"attn_{one}" for one in "qkv"},
    **{f"self_attn.{one}_norm": f"attn_{one}_norm" for one in "qk"},
    **{f"mlp.{one}_proj": f"ffn_{one}" for one in ("gate", "up", "down")},
}
"""llama.cpp's names of a layer's modules."""


def configuration(file: Gguf) -> dict[str, Any]:
    """Return the ``config.json`` of a file's model. Raises UnknownPart for what would change its numbers."""
    family = file.metadata.get("general.architecture")
    if family not in ARCHITECTURES:
        raise UnknownPart(f"the architecture of {file.path} is {family!r}, read are {', '.join(ARCHITECTURES)}")
    own = {
        key.removeprefix(f"{family}."): value for key, value in file.metadata.items() if key.startswith(f"{family}.")
    }
    unknown = sorted(own.keys() - SIZES.keys() - set(READ) - set(IGNORED))
    if unknown:
        raise UnknownPart(f"{family} with {unknown[0]} = {str(own[unknown[0]])[:40]}: that part is not known")
    embedding = file.tensors.get(EMBEDDING)
    if embedding is None or len(embedding.shape) != 2:
        raise UnknownPart(f"{file.path} has no {EMBEDDING}", cure="give a file with a whole model")
    found: dict[str, Any] = {"model_type": family, "hidden_act": "silu", "vocab_size": embedding.shape[0]}
    found |= {name: own[key] for key, name in SIZES.items() if key in own}
    found["tie_word_embeddings"] = HEAD not in file.tensors
    stops = sorted({file.metadata[key] for key in STOPS if isinstance(file.metadata.get(key), int)})
    found["eos_token_id"] = stops or None
    if family == "llama":
        found["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    size = own.get("attention.key_length") or _share(own)
    for key in ("attention.value_length", "rope.dimension_count"):
        if own.get(key, size) != size:
            raise UnknownPart(f"{family} with {key} = {own[key]} and heads of {size}: that part is not known")
    scaling = _scaling(file, found, own, size)
    return found | ({"rope_scaling": scaling} if scaling else {})


def _share(own: Mapping[str, Any]) -> int | None:
    width, heads = own.get("embedding_length"), own.get("attention.head_count")
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else None


def _scaling(file: Gguf, config: Mapping[str, Any], own: Mapping[str, Any], size: int | None) -> dict[str, Any] | None:
    """Return how rotary positions are scaled."""
    kind = own.get("rope.scaling.type", "none")
    if kind == "linear":
        return {"rope_type": "linear", "factor": own.get("rope.scaling.factor", 1.0)}
    if kind not in ("none", "default"):
        raise UnknownPart(f"rotary positions with the scaling {kind!r}, known are none and linear")
    if FACTORS not in file.tensors:
        return None
    stored, theta = file.weight(FACTORS).ravel(), float(config.get("rope_theta", 10000.0))
    for factor in LLAMA3_FACTORS:
        expected = llama3_factors(theta, size or 0, factor)
        if stored.shape == expected.shape and np.allclose(stored, expected, rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": LOW,
                "high_freq_factor": HIGH,
                "original_max_position_embeddings": ORIGINAL,
            }
    raise UnknownPart(f"{file.path} has {FACTORS} that are not those of Llama 3.1 or 3.2")


def llama3_factors(theta: float, size: int, factor: float) -> Floats:
    """Return by what ``llama3`` positions divide the frequency of each pair of a head's elements: [size / 2].

    Long waves are slowed by the factor, short ones are left, and those between are mixed.
    """
    waves = 2 * np.pi * theta ** (np.arange(0, size, 2, dtype=np.float64) / max(1, size))
    share = np.clip((ORIGINAL / waves - LOW) / (HIGH - LOW), 0.0, 1.0)
    return (1 / ((1 - share) / factor + share)).astype(np.float32)


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a weight of transformers."""
    module, _, kind = name.rpartition(".")
    if module in WHOLE:
        return f"{WHOLE[module]}.{kind}"
    layer, _, part = module.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def in_halves(rows: Floats, heads: int) -> Floats:
    """Reorder rows of queries or keys [heads * size, ...]: llama.cpp has the two rows of a pair as neighbours in a
    Llama, and transformers in the two halves of a head."""
    size = rows.shape[0] // heads
    halves: Floats = rows.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)
    return halves


def stored_weight(file: Gguf, name: str, heads: int, kv_heads: int) -> Floats:
    """Return a weight by transformers' name, in its order of rows. Raises BadCheckpoint."""
    found = file.weight(gguf_name(name))
    if file.metadata.get("general.architecture") != "llama":
        return found
    count = {"self_attn.q_proj": heads, "self_attn.k_proj": kv_heads}.get(name.rpartition(".")[0].split(".", 3)[-1])
    return found if count is None or found.shape[0] % (2 * count) else in_halves(found, count)
