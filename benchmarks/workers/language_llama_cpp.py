"""llama.cpp by its Python package: ``python -m benchmarks.workers.language_llama_cpp``.

With ``convert FOLDER FILE PRECISION`` it writes a GGUF file of ``FOLDER/config.json`` and ``FOLDER/model.safetensors``
instead: F32 for ``fp32``, Q8_0 for ``int8`` and Q4_0 for ``int4``. As llama.cpp's own tool does in these sizes, Q4_0
leaves eight bits to the weight that computes logits. Nothing of the harness is imported, which this environment lacks.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers.language_serving import serve

FAMILIES = ("llama", "qwen2", "qwen3")
PARTS = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
TYPES = {"fp32": "F32", "int8": "Q8_0", "int4": "Q4_0"}
FILE_TYPES = {"fp32": "ALL_F32", "int8": "MOSTLY_Q8_0", "int4": "MOSTLY_Q4_0"}
LOGITS = ("token_embd.weight", "output.weight")
"""The weight that computes logits: the embedding's where both are one. ``llama-quantize`` gives it Q6_K in a Q4_0 file,
and Q8_0 where its rows are no multiple of 256."""
CONTEXT, BATCH = 512, 512


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a weight."""
    if name in WHOLE:
        return WHOLE[name]
    layer, _, part = name.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{PARTS[part]}"


def interleaved(weight: Any, heads: int) -> Any:
    """Reorder the rows of queries or keys: llama.cpp rotates neighbours in a Llama, transformers halves of a head."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def converted(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each weight under llama.cpp's name and in its order of rows."""
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    for name in tensors.keys():  # noqa: SIM118 - an open safetensors file has keys, and is no mapping
        array = tensors[name] if isinstance(tensors, dict) else tensors.get_tensor(name)  # type: ignore[attr-defined]
        for part, count in heads.items():
            if config["model_type"] == "llama" and name.endswith(f".{part}_proj.weight"):
                array = interleaved(array, count)
        yield gguf_name(name), array


def tensor_type(precision: str, name: str, axes: int) -> str:
    """Return the name of a weight's type in a file of a precision."""
    if axes != 2:
        return "F32"
    return "Q8_0" if precision == "int4" and name in LOGITS else TYPES[precision]


def convert(folder: Path, path: Path, precision: str) -> None:
    gguf, safetensors = importlib.import_module("gguf"), importlib.import_module("safetensors")
    config = json.loads((folder / "config.json").read_bytes())
    if config["model_type"] not in FAMILIES or config.get("rope_scaling"):
        raise ValueError(f"{config['model_type']} with these positions is not converted")
    writer = gguf.GGUFWriter(str(path), config["model_type"])
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    kinds = gguf.GGMLQuantizationType
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[precision]])
    with safetensors.safe_open(folder / "model.safetensors", framework="numpy") as tensors:
        for name, array in converted(config, tensors):
            kind = kinds[tensor_type(precision, name, array.ndim)]
            data = np.ascontiguousarray(array, np.float32)
            writer.add_tensor(name, gguf.quantize(data, kind) if kind != kinds.F32 else data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    writer.close()


class LlamaEngine:
    """Evaluate tokens, and take the best logit."""

    def __init__(self, request: dict[str, Any]) -> None:
        package = importlib.import_module("llama_cpp")
        threads = request["threads"]
        self.llama = package.Llama(
            request["model"],
            n_ctx=CONTEXT,
            n_batch=BATCH,
            n_ubatch=BATCH,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        self.facts = {"llama-cpp-python": package.__version__}

    def begin(self, prompt: Sequence[int]) -> int:
        self.llama.reset()
        return self._next(prompt)

    def step(self, token: int) -> int:
        return self._next([token])

    def _next(self, tokens: Sequence[int]) -> int:
        self.llama.eval(list(tokens))
        # Without logits of all tokens, those of the last one are the context's.
        context, size = self.llama._ctx, self.llama.n_vocab()
        return int(np.ctypeslib.as_array(context.get_logits(), shape=(size,)).argmax())


if __name__ == "__main__":
    if sys.argv[1:2] == ["convert"]:
        convert(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    else:
        serve(LlamaEngine)
