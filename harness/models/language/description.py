"""Describe a decoder-only language model: its blocks, read from the ``config.json`` of a Hugging Face model.

One description covers all families. What a configuration asks for and the description cannot hold is refused by name.
Imports no PyTorch, since the main process looks at models too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import UsageError

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]
ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""The feed-forward's functions, by the names of configurations."""
MOST_CONFIG_BYTES = 1 << 20
LIMITS = {"vocab_size": 1 << 20, "width": 1 << 15, "layers": 256, "heads": 512, "head_size": 1024, "hidden": 1 << 17}
"""The largest sizes that are taken, far beyond the models that fit on a phone."""

IGNORED = frozenset(
    {
        *("_name_or_path", "architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "initializer_range", "model_type"),
        *("attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "pretraining_tp"),
        *("output_attentions", "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type"),
        *("task_specific_params", "summary_type", "summary_use_proj", "summary_proj_to_labels", "is_llama_config"),
        *("summary_first_dropout", "summary_activation", "rope_interleaved", "chunk_size_feed_forward", "n_ctx"),
        *("reorder_and_upcast_attn", "transformers.js_config", "max_window_layers", "hidden_activation"),
    }
)
"""Keys that change no number of a forward pass, or that are read together with another one."""


class UnknownPart(UsageError):
    """A configuration asks for a part that the description of blocks does not have."""

    cure = (
        "run it as a model of tensors, described in a Python file (docs/your-model.md); docs/generation.md lists parts"
    )


@dataclass(frozen=True)
class Rotary:
    """Hold rotary positions: pairs of a head's elements are turned by angles that grow with the position."""

    theta: float
    scaling: Literal["default", "linear", "llama3"] = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192
    """The last three belong to ``llama3``: low and high frequency factors, and the context of the training before."""


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
    windows: tuple[int, ...] = ()
    """The positions that each layer sees, itself included; 0 means all. Empty means all everywhere."""
    qkv_bias: bool = False
    out_bias: bool = False
    ff_bias: bool = False
    head_norms: bool = False
    """Whether queries and keys have a norm of their own in each head."""
    tied: bool = False
    """Whether the head is the embedding's table."""
    embedding_scale: float = 1.0

    def window(self, layer: int) -> int:
        return self.windows[layer] if self.windows else 0

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
        gates = 2 if self.gated else 1
        layer = self.width * (2 * self.queries + 2 * self.keys) + (gates + 1) * self.width * self.hidden
        layer += 2 * self.width * (2 if self.norm == "layer" else 1) + (2 * self.head_size if self.head_norms else 0)
        layer += (self.queries + 2 * self.keys if self.qkv_bias else 0) + (self.width if self.out_bias else 0)
        layer += gates * self.hidden + self.width if self.ff_bias else 0
        tables = self.vocab_size * (1 if self.tied else 2) + (self.context if self.rotary is None else 0)
        return self.layers * layer + tables * self.width + self.width * (2 if self.norm == "layer" else 1)


class _Reader:
    """Take a configuration's keys one by one; what nobody took in the end is unknown."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.taken = config, set(IGNORED)

    def get(self, key: str, default: Any = None) -> Any:
        self.taken.add(key)
        found = self.config.get(key)
        return default if found is None else found

    def size(self, key: str, default: int | None = None) -> int:
        found = self.get(key, default)
        if found is None:
            raise UnknownPart(f"the configuration has no {key}", cure="see that config.json is a model's, and whole")
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise UnknownPart(f"{key} is {found!r}", cure="it must be a whole number from 1 on")
        return found

    def number(self, key: str, default: float) -> float:
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e12:
            raise UnknownPart(f"{key} is {found!r}", cure="it must be a number above 0")
        return float(found)

    def flag(self, key: str, default: bool = False) -> bool:
        found = self.get(key, default)
        if not isinstance(found, bool):
            raise UnknownPart(f"{key} is {found!r}", cure="it must be true or false")
        return found

    def activation(self, key: str, default: str) -> Activation:
        found = self.get(key, default)
        if found not in ACTIVATIONS:
            raise UnknownPart(f"the activation {key} is {found!r}, known are {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[found]

    def finish(self) -> None:
        """Raise UnknownPart for the first key that asks for something and that nobody has read."""
        for key, value in self.config.items():
            if key not in self.taken and value not in (None, False, 0, 0.0, "", [], {}):
                raise UnknownPart(f"{self.config['model_type']} with {key} = {_short(value)}: that part is not known")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_config(path: Path) -> dict[str, Any]:
    """Return a ``config.json`` unchanged. Raises UnknownPart if it is not a JSON object of a usual size."""
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise UnknownPart(f"{path} has more than {MOST_CONFIG_BYTES} bytes", cure="give a model's config.json")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnknownPart(f"{path} cannot be read: {error}", cure="give a folder with a model's config.json") from error
    if not isinstance(found, dict):
        raise UnknownPart(f"{path} is no JSON object", cure="give a folder with a model's config.json")
    return found


def describe(config: Mapping[str, Any]) -> Decoder:
    """Return the description of a configuration. Raises UnknownPart with the first part that is not known."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UnknownPart(f"model_type is {family!r}, known are {', '.join(FAMILIES)}")
    reader = _Reader(config)
    found = _gpt2(reader) if family == "gpt2" else _rotating(reader, str(family))
    reader.finish()
    for name, most in LIMITS.items():
        if getattr(found, name) > most:
            raise UnknownPart(f"{name} is {getattr(found, name)}", cure=f"sizes up to {most} are taken")
    if found.heads % found.kv_heads:
        raise UnknownPart(f"{found.heads} heads cannot share the keys of {found.kv_heads}")
    if found.rotary is not None and found.head_size % 2:
        raise UnknownPart(f"a head of {found.head_size} elements has no pairs to rotate")
    return found


def _rotating(reader: _Reader, family: str) -> Decoder:
    """Describe the models after Llama: rotary positions, RMS norms, a gated feed-forward."""
    width, heads, layers = (reader.size(name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    gemma = family == "gemma"
    head_size = reader.get("head_dim")
    if head_size is None and width % heads:
        raise UnknownPart(f"hidden_size {width} is no multiple of {heads} heads, and there is no head_dim")
    bias = family == "qwen2" or reader.flag("attention_bias")
    return Decoder(
        family=family,
        vocab_size=reader.size("vocab_size"),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=reader.size("num_key_value_heads", heads),
        head_size=reader.size("head_dim", width // heads),
        hidden=reader.size("intermediate_size"),
        context=reader.size("max_position_embeddings", 2048),
        eps=reader.number("rms_norm_eps", 1e-6),
        activation=_gemma_activation(reader) if gemma else reader.activation("hidden_act", "silu"),
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


def _gemma_activation(reader: _Reader) -> Activation:
    """Return Gemma's activation: transformers takes ``hidden_act`` for GELU's tanh form, also of older files."""
    if reader.get("hidden_act", "gelu_pytorch_tanh") not in ("gelu", "gelu_pytorch_tanh"):
        reader.activation("hidden_act", "gelu")
    return "gelu_tanh"


def _windows(reader: _Reader, family: str, layers: int) -> tuple[int, ...]:
    """Return the window of each layer; empty without any."""
    window = reader.get("sliding_window")
    if family in ("qwen2", "qwen3") and not reader.flag("use_sliding_window"):
        reader.get("layer_types")
        return ()
    if window is None:
        reader.get("layer_types")
        return ()
    if family not in ("mistral", "qwen2", "qwen3"):
        raise UnknownPart(f"{family} with sliding_window = {window!r}: that part is not known")
    size = reader.size("sliding_window")
    kinds = reader.get("layer_types")
    if kinds is None:
        first = 0 if family == "mistral" else reader.get("max_window_layers", 28)
        kinds = ["full_attention" if layer < first else "sliding_attention" for layer in range(layers)]
    unknown = [kind for kind in kinds if kind not in ("full_attention", "sliding_attention")]
    if unknown or len(kinds) != layers:
        raise UnknownPart(f"layer_types has {unknown[0]!r}" if unknown else f"layer_types has not {layers} entries")
    return tuple(size if kind == "sliding_attention" else 0 for kind in kinds)


def _rotary(reader: _Reader) -> Rotary:
    """Read the positions from either form: ``rope_parameters``, or ``rope_theta`` with ``rope_scaling``."""
    theta = reader.number("rope_theta", 10000.0)
    given = reader.get("rope_parameters") or reader.get("rope_scaling") or {}
    reader.get("rope_scaling")
    if not isinstance(given, dict):
        raise UnknownPart(f"rope_parameters is {_short(given)}")
    inner = _Reader({"model_type": "rotary positions", **given})
    theta = inner.number("rope_theta", theta)
    kind = inner.get("rope_type", inner.get("type", "default"))
    inner.get("type")
    if kind == "default":
        found = Rotary(theta)
    elif kind == "linear":
        found = Rotary(theta, "linear", inner.number("factor", 1.0))
    elif kind == "llama3":
        found = Rotary(
            theta,
            "llama3",
            inner.number("factor", 1.0),
            inner.number("low_freq_factor", 1.0),
            inner.number("high_freq_factor", 4.0),
            inner.size("original_max_position_embeddings", 8192),
        )
    else:
        raise UnknownPart(f"rotary positions with the scaling {kind!r}, known are default, linear and llama3")
    inner.finish()
    return found


def _gpt2(reader: _Reader) -> Decoder:
    width, heads = reader.size("n_embd", 768), reader.size("n_head", 12)
    if width % heads:
        raise UnknownPart(f"n_embd {width} is no multiple of {heads} heads")
    if not reader.flag("scale_attn_weights", True):
        raise UnknownPart("gpt2 with scale_attn_weights = false: that part is not known")
    return Decoder(
        family="gpt2",
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


FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2")
"""The ``model_type`` of each family that is known. SmolLM2 is a Llama."""
