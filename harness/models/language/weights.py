"""Give a language model's weights one at a time, so that memory stays bounded: from safetensors, from a GGUF file, or
from a seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from harness.models.errors import BadCheckpoint
from harness.models.language.description import Decoder
from harness.models.language.gguf import Gguf
from harness.models.language.gguf_model import stored_weight

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Weights(Protocol):
    """Give weights by the names that transformers stores them under, in float32."""

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a weight of this shape. Raises BadCheckpoint if there is none."""


class StoredWeights:
    """Read a folder's safetensors: one file, or several with an index. Files are mapped, not read as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._where = _files_by_name(folder)

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        stored = next((one for one in (name, name.removeprefix("transformer.")) if one in self._where), None)
        if stored is None:
            raise BadCheckpoint(f"{self.folder} has no weight {name}")
        found: Tensor = self._file(self._where[stored]).get_tensor(stored)
        if tuple(found.shape) != shape:
            raise BadCheckpoint(f"{self.folder}: the weight {stored} is {list(found.shape)}, not {list(shape)}")
        return found.to(torch.float32)

    def _file(self, name: str) -> Any:
        if name not in self._files:
            self._files[name] = _opened(self.folder / name)
        return self._files[name]


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error


def _files_by_name(folder: Path) -> dict[str, str]:
    """Return the file of each weight. An index may name files of its own folder only."""
    if (folder / SINGLE).is_file():
        return dict.fromkeys(_opened(folder / SINGLE).keys(), SINGLE)
    try:
        found = json.loads((folder / INDEX).read_bytes())["weight_map"]
        names = {str(name): str(file) for name, file in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{folder} has neither {SINGLE} nor a usable {INDEX}") from error
    for file in names.values():
        if Path(file).name != file:
            raise BadCheckpoint(f"{folder / INDEX} names {file!r}, which is not a file next to it")
    return names


class GgufWeights:
    """Read one GGUF file, in transformers' names and order of rows."""

    def __init__(self, decoder: Decoder, path: Path) -> None:
        self.decoder, self.file = decoder, Gguf(path)

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = stored_weight(self.file, name, self.decoder.heads, self.decoder.kv_heads)
        if found.shape != shape:
            raise BadCheckpoint(f"{self.file.path}: the weight {name} is {list(found.shape)}, not {list(shape)}")
        # A weight in float32 is the file's own bytes, which cannot be written.
        found = np.ascontiguousarray(found)
        return torch.from_numpy(found if found.flags.writeable else found.copy())


class SeededWeights:
    """Draw weights from a seed and their name. The same ones come out on every machine.

    They are uniform, from 24 random bits each and exact arithmetic. Matrices keep the size of what they multiply, so
    that the answers of a deep model depend on all its layers. Norms are near 1 and biases near 0, but not exactly, so
    that no mistake with them stays unseen.
    """

    def __init__(self, decoder: Decoder, seed: int = 0) -> None:
        self.decoder, self.seed = decoder, seed

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        drawn = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
        values = drawn.random(shape, dtype=np.float32)
        values *= np.float32(2)
        values -= np.float32(1)
        values *= np.float32(self._spread(name, shape))
        if len(shape) == 1 and name.endswith("weight"):
            values += np.float32(1 - self.decoder.norm_offset)
        return torch.from_numpy(values)

    def _spread(self, name: str, shape: tuple[int, ...]) -> float:
        """Return the largest magnitude of a weight; a uniform one's deviation is that over the root of 3."""
        if len(shape) == 1:
            return 0.1
        if "embed" in name or "wte" in name or "wpe" in name or "lm_head" in name:
            return 0.08 / self.decoder.embedding_scale
        depth = shape[0] if self.decoder.family == "gpt2" else shape[1]
        return math.sqrt(3.0 / depth)


def weight_shapes(decoder: Decoder) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every stored weight, as transformers stores them."""
    if decoder.family == "gpt2":
        yield from _gpt2_shapes(decoder)
        return
    layer_shapes = _phi_shapes if decoder.parallel else _llama_shapes
    yield "model.embed_tokens.weight", (decoder.vocab_size, decoder.width)
    for layer in range(decoder.layers):
        for name, shape in layer_shapes(decoder):
            yield f"model.layers.{layer}.{name}", shape
    yield f"{final_norm(decoder)}.weight", (decoder.width,)
    if decoder.norm == "layer":
        yield f"{final_norm(decoder)}.bias", (decoder.width,)
    if not decoder.tied:
        yield "lm_head.weight", (decoder.vocab_size, decoder.width)
    if decoder.head_bias:
        yield "lm_head.bias", (decoder.vocab_size,)


def final_norm(decoder: Decoder) -> str:
    """Return the name of the norm after the last layer."""
    return {"gpt2": "transformer.ln_f", "phi": "model.final_layernorm"}.get(decoder.family, "model.norm")


def norm_names(decoder: Decoder) -> tuple[str, ...]:
    """Return the names of a layer's norms, in the order in which they are used."""
    if decoder.parallel:
        return ("input_layernorm",)
    if decoder.post_norms:
        after, before = "post_attention_layernorm", "pre_feedforward_layernorm"
        return ("input_layernorm", after, before, "post_feedforward_layernorm")
    return ("input_layernorm", "post_attention_layernorm")


def _llama_shapes(decoder: Decoder) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names of one layer after Llama, with its queries, keys and values in one matrix or in three."""
    width, hidden = decoder.width, decoder.hidden
    for norm in norm_names(decoder):
        yield f"{norm}.weight", (width,)
    if decoder.head_norms:
        yield "self_attn.q_norm.weight", (decoder.head_size,)
        yield "self_attn.k_norm.weight", (decoder.head_size,)
    if decoder.fused:
        attention = {"self_attn.qkv_proj": (decoder.queries + 2 * decoder.keys, width)}
        forward = {"mlp.gate_up_proj": (2 * hidden, width)}
    else:
        attention = {f"self_attn.{name}_proj": (rows, width) for name, rows in _qkv(decoder)}
        forward = {"mlp.gate_proj": (hidden, width), "mlp.up_proj": (hidden, width)}
    yield from _matrices(attention, bias=decoder.qkv_bias)
    yield from _matrices({"self_attn.o_proj": (width, decoder.queries)}, bias=decoder.out_bias)
    yield from _matrices({**forward, "mlp.down_proj": (width, hidden)}, bias=decoder.ff_bias)


def _phi_shapes(decoder: Decoder) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names of one layer of Phi."""
    width, hidden = decoder.width, decoder.hidden
    yield "input_layernorm.weight", (width,)
    yield "input_layernorm.bias", (width,)
    found = {f"self_attn.{name}_proj": (rows, width) for name, rows in _qkv(decoder)}
    found |= {"self_attn.dense": (width, decoder.queries), "mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
    yield from _matrices(found, bias=True)


def _qkv(decoder: Decoder) -> tuple[tuple[str, int], ...]:
    return (("q", decoder.queries), ("k", decoder.keys), ("v", decoder.keys))


def _matrices(found: Mapping[str, tuple[int, ...]], *, bias: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in found.items():
        yield f"{name}.weight", shape
        if bias:
            yield f"{name}.bias", shape[:1]


def _gpt2_shapes(decoder: Decoder) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield GPT-2's names. Its matrices are stored by inputs, then outputs."""
    width, hidden = decoder.width, decoder.hidden
    yield "transformer.wte.weight", (decoder.vocab_size, width)
    yield "transformer.wpe.weight", (decoder.context, width)
    matrices = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
    matrices |= {"mlp.c_fc": (width, hidden), "mlp.c_proj": (hidden, width)}
    for layer in range(decoder.layers):
        prefix = f"transformer.h.{layer}."
        for norm in ("ln_1", "ln_2"):
            yield f"{prefix}{norm}.weight", (width,)
            yield f"{prefix}{norm}.bias", (width,)
        for name, shape in matrices.items():
            yield f"{prefix}{name}.weight", shape
            yield f"{prefix}{name}.bias", shape[1:]
    yield "transformer.ln_f.weight", (width,)
    yield "transformer.ln_f.bias", (width,)
    if not decoder.tied:
        yield "lm_head.weight", (decoder.vocab_size, width)


def opened_weights(decoder: Decoder, source: Mapping[str, Any]) -> Weights:
    """Return the weights of a workload's request: of its folder, of its GGUF file, or drawn from its seed."""
    if source.get("folder"):
        return StoredWeights(Path(source["folder"]))
    if source.get("gguf"):
        return GgufWeights(decoder, Path(source["gguf"]))
    return SeededWeights(decoder, source["seed"])
