"""Describe each family of decoder-only models from the keys of its configuration. All give one kind of description.

What a configuration asks for and the description cannot hold is refused by name. Imports no PyTorch, since the main
process looks at models too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from harness.models.language.config_keys import Activation, KeyReader, UnknownPart, short_json
from harness.models.language.description import Decoder, Rotary

LIMITS = {"vocab_size": 1 << 20, "width": 1 << 15, "layers": 256, "heads": 512, "head_size": 1024, "hidden": 1 << 17}
"""The largest sizes that are taken, far beyond the models that fit on a phone."""
SLIDING = "sliding_attention"


def describe(config: Mapping[str, Any]) -> Decoder:
    """Return the description of a configuration. Raises UnknownPart with the first part that is not known."""
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UnknownPart(f"model_type is {family!r}, known are {', '.join(FAMILIES)}")
    reader = KeyReader(config)
    found = FAMILIES[family](reader, family)
    reader.finish()
    for name, most in LIMITS.items():
        if getattr(found, name) > most:
            raise UnknownPart(f"{name} is {getattr(found, name)}", cure=f"sizes up to {most} are taken")
    if found.heads % found.kv_heads:
        raise UnknownPart(f"{found.heads} heads cannot share the keys of {found.kv_heads}")
    for turned in (found.rotary, found.window_rotary):
        size = found.head_size if turned is None or not turned.size else turned.size
        if turned is not None and (size % 2 or found.head_size % 2):
            raise UnknownPart(f"{size} elements of a head of {found.head_size} have no pairs to rotate")
    return found


def _rotating(reader: KeyReader, family: str) -> Decoder:
    """Describe the models after Llama: rotary positions, RMS norms, a gated feed-forward."""
    width, heads, layers = (reader.size(name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    gemma = family.startswith("gemma")
    head_size = reader.get("head_dim")
    if head_size is None and width % heads:
        raise UnknownPart(f"hidden_size {width} is no multiple of {heads} heads, and there is no head_dim")
    bias = family == "qwen2" or reader.flag("attention_bias")
    head_size = reader.size("head_dim", width // heads)
    return Decoder(
        family=family,
        vocab_size=reader.size("vocab_size"),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=reader.size("num_key_value_heads", heads),
        head_size=head_size,
        hidden=reader.size("intermediate_size"),
        context=reader.size("max_position_embeddings", 2048),
        eps=reader.number("rms_norm_eps", 1e-6),
        activation=_gemma_activation(reader) if family == "gemma" else reader.activation("hidden_act", "silu"),
        norm_offset=1.0 if gemma else 0.0,
        rotary=_rotary(reader),
        windows=_windows(reader, family, layers),
        qkv_bias=bias,
        out_bias=bias and family != "qwen2",
        ff_bias=reader.flag("mlp_bias"),
        head_norms=family == "qwen3",
        tied=reader.flag("tie_word_embeddings", gemma),
        embedding_scale=float(width) ** 0.5 if gemma else 1.0,
    )


def _gemma_activation(reader: KeyReader) -> Activation:
    """Return Gemma's activation: transformers takes ``hidden_act`` for GELU's tanh form, also of older files."""
    if reader.get("hidden_act", "gelu_pytorch_tanh") not in ("gelu", "gelu_pytorch_tanh"):
        reader.activation("hidden_act", "gelu")
    return "gelu_tanh"


def _later_gemma(reader: KeyReader, family: str) -> Decoder:
    """Describe Gemma 2 and 3: norms after attention and feed-forward too, windows in most layers, an own query scale.

    Gemma 2 caps scores and logits. Gemma 3 has norms in each head, and other positions in its layers with windows.
    """
    if reader.flag("use_bidirectional_attention"):
        raise UnknownPart(f"{family} with use_bidirectional_attention = true: that part is not known")
    third = family == "gemma3_text"
    layers, width = reader.size("num_hidden_layers"), reader.size("hidden_size")
    head_size = reader.size("head_dim", 256)
    pattern = reader.size("sliding_window_pattern", 6) if third else 2
    usual = ["full_attention" if (layer + 1) % pattern == 0 else SLIDING for layer in range(layers)]
    return Decoder(
        family=family,
        vocab_size=reader.size("vocab_size"),
        width=width,
        layers=layers,
        heads=reader.size("num_attention_heads"),
        kv_heads=reader.size("num_key_value_heads", 4),
        head_size=head_size,
        hidden=reader.size("intermediate_size"),
        context=reader.size("max_position_embeddings", 131072 if third else 8192),
        eps=reader.number("rms_norm_eps", 1e-6),
        activation=reader.activation("hidden_activation", "gelu_pytorch_tanh"),
        norm_offset=1.0,
        rotary=_rotary(reader, "full_attention", 1e6) if third else _rotary(reader),
        window_rotary=_window_rotary(reader) if third else None,
        windows=_windows_of(reader, reader.size("sliding_window", 4096), usual),
        qkv_bias=reader.flag("attention_bias"),
        out_bias=reader.flag("attention_bias"),
        head_norms=third,
        query_scale=(head_size / reader.number("query_pre_attn_scalar", 256.0)) ** 0.5,
        score_cap=_cap(reader, "attn_logit_softcapping", 0.0 if third else 50.0),
        logit_cap=_cap(reader, "final_logit_softcapping", 0.0 if third else 30.0),
        post_norms=True,
        tied=reader.flag("tie_word_embeddings", True),
        embedding_scale=float(width) ** 0.5,
    )


def _cap(reader: KeyReader, key: str, default: float) -> float:
    """Return a cap; 0 where there is none, as where the key is there and null."""
    if not default and reader.get(key) is None:
        return 0.0
    return 0.0 if key in reader.config and reader.get(key) is None else reader.number(key, default)


def _phi(reader: KeyReader, family: str) -> Decoder:
    """Describe Phi 1 to 2: attention and feed-forward beside each other, positions in a part of each head."""
    if reader.flag("qk_layernorm"):
        raise UnknownPart("phi with qk_layernorm = true: that part is not known")
    width, heads = reader.size("hidden_size"), reader.size("num_attention_heads")
    if width % heads:
        raise UnknownPart(f"hidden_size {width} is no multiple of {heads} heads")
    return Decoder(
        family=family,
        vocab_size=reader.size("vocab_size"),
        width=width,
        layers=reader.size("num_hidden_layers"),
        heads=heads,
        kv_heads=reader.size("num_key_value_heads", heads),
        head_size=width // heads,
        hidden=reader.size("intermediate_size"),
        context=reader.size("max_position_embeddings", 2048),
        eps=reader.number("layer_norm_eps", 1e-5),
        activation=reader.activation("hidden_act", "gelu_new"),
        norm="layer",
        gated=False,
        rotary=_rotary(reader, part_of=width // heads, share=0.5),
        qkv_bias=True,
        out_bias=True,
        ff_bias=True,
        parallel=True,
        head_bias=True,
        tied=reader.flag("tie_word_embeddings"),
    )


def _phi3(reader: KeyReader, family: str) -> Decoder:
    """Describe Phi 3 and 4: a Llama whose matrices of queries, keys and values are stored as one."""
    reader.get("original_max_position_embeddings")
    width, heads, layers = (reader.size(name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    head_size = reader.size("head_dim", max(1, width // heads))
    window = reader.get("sliding_window")
    return Decoder(
        family=family,
        vocab_size=reader.size("vocab_size"),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=reader.size("num_key_value_heads", heads),
        head_size=head_size,
        hidden=reader.size("intermediate_size"),
        context=reader.size("max_position_embeddings", 4096),
        eps=reader.number("rms_norm_eps", 1e-5),
        activation=reader.activation("hidden_act", "silu"),
        rotary=_rotary(reader, part_of=head_size, share=1.0),
        windows=() if window is None else (reader.size("sliding_window"),) * layers,
        fused=True,
        tied=reader.flag("tie_word_embeddings"),
    )


def _windows(reader: KeyReader, family: str, layers: int) -> tuple[int, ...]:
    """Return the window of each layer; empty without any."""
    window = reader.get("sliding_window")
    if (family in ("qwen2", "qwen3") and not reader.flag("use_sliding_window")) or window is None:
        reader.get("layer_types")
        return ()
    if family not in ("mistral", "qwen2", "qwen3"):
        raise UnknownPart(f"{family} with sliding_window = {window!r}: that part is not known")
    first = 0 if family == "mistral" else reader.get("max_window_layers", 28)
    usual = ["full_attention" if layer < first else SLIDING for layer in range(layers)]
    return _windows_of(reader, reader.size("sliding_window"), usual)


def _windows_of(reader: KeyReader, size: int, usual: list[str]) -> tuple[int, ...]:
    """Return each layer's window by ``layer_types``, or by the ``usual`` types of a family."""
    kinds = reader.get("layer_types", usual)
    unknown = [kind for kind in kinds if kind not in ("full_attention", SLIDING)]
    if unknown or len(kinds) != len(usual):
        raise UnknownPart(f"layer_types has {unknown[0]!r}" if unknown else f"layer_types has not {len(usual)} entries")
    return tuple(size if kind == SLIDING else 0 for kind in kinds)


def _rotary(
    reader: KeyReader, kind: str | None = None, theta: float = 10000.0, *, part_of: int = 0, share: float = 1.0
) -> Rotary:
    """Read the positions from either form: ``rope_parameters``, or ``rope_theta`` with ``rope_scaling``.

    ``kind`` is the kind of layer whose positions are read, where each has its own. A family that turns only a part of a
    head gives the head's size as ``part_of``, and the usual ``share``.
    """
    theta = reader.number("rope_theta", theta)
    given = reader.get("rope_parameters") or reader.get("rope_scaling") or {}
    reader.get("rope_scaling")
    share = reader.number("partial_rotary_factor", share) if part_of else share
    if isinstance(given, dict) and kind is not None and (not given or kind in given or SLIDING in given):
        given = given.get(kind) or reader.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise UnknownPart(f"rope_parameters is {short_json(given)}")
    inner = KeyReader({"model_type": "rotary positions", **given})
    theta = inner.number("rope_theta", theta)
    share = inner.number("partial_rotary_factor", share)
    if share != 1.0 and not part_of:
        raise UnknownPart(f"partial_rotary_factor is {share}: that part is not known for this model_type")
    scaling = inner.get("rope_type", inner.get("type", "default"))
    inner.get("type")
    size = int(part_of * share) if share != 1.0 else 0
    if scaling == "default":
        found = Rotary(theta, size=size)
    elif scaling == "linear":
        found = Rotary(theta, "linear", inner.number("factor", 1.0), size=size)
    elif scaling == "llama3":
        found = Rotary(
            theta,
            "llama3",
            inner.number("factor", 1.0),
            inner.number("low_freq_factor", 1.0),
            inner.number("high_freq_factor", 4.0),
            inner.size("original_max_position_embeddings", 8192),
            size,
        )
    elif scaling == "yarn":
        found = _yarn(reader, inner, theta, size)
    else:
        raise UnknownPart(f"rotary positions with the scaling {scaling!r}, known are default, linear, llama3 and yarn")
    inner.finish()
    return found


def _yarn(reader: KeyReader, inner: KeyReader, theta: float, size: int) -> Rotary:
    """Read YaRN's positions (Peng et al. 2023, https://arxiv.org/abs/2309.00071)."""
    if not inner.flag("truncate", True):
        raise UnknownPart("rotary positions with the scaling 'yarn' and truncate = false: that part is not known")
    original = inner.size("original_max_position_embeddings", reader.size("max_position_embeddings", 2048))
    factor = inner.number("factor", reader.size("max_position_embeddings", 2048) / original)
    usual = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    return Rotary(
        theta,
        "yarn",
        factor,
        inner.number("beta_slow", 1.0),
        inner.number("beta_fast", 32.0),
        original,
        size,
        inner.number("attention_factor", usual),
    )


def _window_rotary(reader: KeyReader) -> Rotary:
    """Return Gemma 3's positions in layers with a window, which are never scaled."""
    theta = reader.number("rope_local_base_freq", 10000.0)
    given = reader.get("rope_parameters") or {}
    inner = KeyReader({"model_type": "rotary positions", **(given.get(SLIDING) or {})})
    if (scaling := inner.get("rope_type", "default")) != "default":
        raise UnknownPart(f"rotary positions with the scaling {scaling!r} in layers with a window")
    found = Rotary(inner.number("rope_theta", theta))
    inner.finish()
    return found


def _gpt2(reader: KeyReader, family: str) -> Decoder:
    width, heads = reader.size("n_embd", 768), reader.size("n_head", 12)
    if width % heads:
        raise UnknownPart(f"n_embd {width} is no multiple of {heads} heads")
    if not reader.flag("scale_attn_weights", True):
        raise UnknownPart("gpt2 with scale_attn_weights = false: that part is not known")
    return Decoder(
        family=family,
        vocab_size=reader.size("vocab_size", 50257),
        width=width,
        layers=reader.size("n_layer", 12),
        heads=heads,
        kv_heads=heads,
        head_size=width // heads,
        hidden=reader.size("n_inner", 4 * width),
        context=reader.size("n_positions", 1024),
        eps=reader.number("layer_norm_epsilon", 1e-5),
        activation=reader.activation("activation_function", "gelu_new"),
        norm="layer",
        gated=False,
        qkv_bias=True,
        out_bias=True,
        ff_bias=True,
        tied=reader.flag("tie_word_embeddings", True),
    )


FAMILIES: Mapping[str, Callable[[KeyReader, str], Decoder]] = {
    "llama": _rotating,
    "mistral": _rotating,
    "qwen2": _rotating,
    "qwen3": _rotating,
    "gemma": _rotating,
    "gemma2": _later_gemma,
    "gemma3_text": _later_gemma,
    "phi": _phi,
    "phi3": _phi3,
    "gpt2": _gpt2,
}
"""The reader of each ``model_type`` that is known. SmolLM2 is a Llama."""
