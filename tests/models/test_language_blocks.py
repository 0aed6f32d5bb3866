"""Our blocks beside transformers', layer by layer, for each family with a tiny configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.models.errors import BadCheckpoint
from harness.models.language import rotary
from harness.models.language.families import describe
from harness.models.language.loading import check_layers, compiled_modules, greedy, transformers_model
from harness.models.language.weights import SeededWeights, StoredWeights, weight_shapes

pytestmark = pytest.mark.programs

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 128,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
TINY: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, "model_type": "llama", "rms_norm_eps": 1e-5, "tie_word_embeddings": True},
    "llama with biases": {
        **SIZES, "model_type": "llama", "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False,
    },
    "llama 3.2": {**SIZES, "model_type": "llama", "rope_parameters": LLAMA3, "head_dim": 32},
    "llama, linear": {
        **SIZES, "model_type": "llama",
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
    },
    "qwen3, yarn": {
        **SIZES, "model_type": "qwen3", "head_dim": 32, "rope_parameters": {
            "rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 64,
        },
    },
    "llama, yarn with its own gain": {
        **SIZES, "model_type": "llama", "head_dim": 32, "rope_parameters": {
            "rope_type": "yarn", "factor": 8.0, "rope_theta": 500.0, "original_max_position_embeddings": 32,
            "attention_factor": 1.25, "beta_fast": 16, "beta_slow": 2,
        },
    },
    "mistral, sliding": {**SIZES, "model_type": "mistral", "sliding_window": 4},
    "qwen2": {**SIZES, "model_type": "qwen2"},
    "qwen2, sliding": {
        **SIZES, "model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4,
        "layer_types": ["full_attention", "sliding_attention"],
    },
    "qwen3": {**SIZES, "model_type": "qwen3", "head_dim": 32},
    "gemma": {**SIZES, "model_type": "gemma", "head_dim": 32, "hidden_act": "gelu_pytorch_tanh"},
    "gemma 2": {
        **SIZES, "model_type": "gemma2", "head_dim": 32, "sliding_window": 4, "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 0.5, "final_logit_softcapping": 0.25,
    },
    "gemma 2, without caps": {
        **SIZES, "model_type": "gemma2", "head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": None, "final_logit_softcapping": None,
    },
    "gemma 3": {
        **SIZES, "model_type": "gemma3_text", "head_dim": 32, "sliding_window": 4, "query_pre_attn_scalar": 24,
        "sliding_window_pattern": 2, "rope_theta": 1000000.0, "rope_local_base_freq": 100.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "gemma 3, each kind's positions": {
        **SIZES, "model_type": "gemma3_text", "head_dim": 32, "sliding_window": 4, "query_pre_attn_scalar": 32,
        "layer_types": ["full_attention", "sliding_attention"], "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        },
    },
    "phi": {**SIZES, "model_type": "phi", "partial_rotary_factor": 0.5, "tie_word_embeddings": False},
    "phi, a quarter turned": {**SIZES, "model_type": "phi", "partial_rotary_factor": 0.25, "num_key_value_heads": 4},
    "phi 3": {**SIZES, "model_type": "phi3", "pad_token_id": 0, "tie_word_embeddings": False},
    "phi 4 mini": {
        **SIZES, "model_type": "phi3", "pad_token_id": 0, "tie_word_embeddings": True, "sliding_window": 4,
        "partial_rotary_factor": 0.75,
    },
    "gpt2": {
        "model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 128,
    },
}  # fmt: skip
SEEDED = {"seed": 3}


@pytest.mark.parametrize("name", TINY)
def test_each_layer_is_that_of_transformers(name: str) -> None:
    config = TINY[name]
    errors = check_layers(config, describe(config), SEEDED)
    assert list(errors) == ["embedding", "layer 0", "layer 1", "norm"]
    assert max(errors.values()) < 1e-5


@pytest.mark.parametrize("name", TINY)
def test_a_prompt_in_blocks_and_steps_give_transformers_tokens(name: str) -> None:
    """Blocks of 6 rows, then single steps over the same cache, with 20 positions in a sliding window of 4."""
    decoder = describe(TINY[name])
    weights = SeededWeights(decoder, 3)
    prompt = [(7 * at + 5) % decoder.vocab_size for at in range(15)]
    answer = greedy(
        transformers_model(TINY[name], weights),
        torch.tensor([prompt]),
        12,
        output_logits=True,
        return_dict_in_generate=True,
    )
    prefill, step = compiled_modules(decoder, weights, 32)
    cache = torch.zeros(decoder.cache_shape(32))
    found: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(prompt) - 1, 6):
            block = torch.tensor(prompt[start : min(start + 6, len(prompt) - 1)], dtype=torch.int32)
            cache = prefill(block, torch.tensor([start], dtype=torch.int32), cache)
        token = torch.tensor(prompt[-1:], dtype=torch.int32)
        for at in range(12):
            token, logits, cache = step(token, torch.tensor([len(prompt) - 1 + at], dtype=torch.int32), cache)
            found.append(int(token))
            assert torch.allclose(logits, answer.logits[at], rtol=1e-4, atol=1e-4)
    assert found == answer.sequences[0, len(prompt) :].tolist()
    assert len(set(found)) > 3, "a model that repeats itself would prove little"


def test_a_wrong_block_is_found_with_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    right = rotary.frequencies

    def wrong(rotary: Any, size: int) -> torch.Tensor:
        return right(rotary, size) * 1.1

    monkeypatch.setattr(rotary, "frequencies", wrong)
    with pytest.raises(BadCheckpoint, match="layer 0 of llama diverges from transformers'"):
        check_layers(TINY["llama"], describe(TINY["llama"]), SEEDED)


@pytest.mark.parametrize("parts", [1, 2])
def test_stored_weights_are_read_by_their_names(parts: int, tmp_path: Any) -> None:
    config = TINY["llama with biases"]
    decoder = describe(config)
    seeded = SeededWeights(decoder, 3)
    state = {name: seeded.take(name, shape) for name, shape in weight_shapes(decoder)}
    if parts == 1:
        save_file(state, tmp_path / "model.safetensors")
    else:
        names = list(state)
        files = {name: f"part-{at % 2}.safetensors" for at, name in enumerate(names)}
        for file in set(files.values()):
            save_file({name: state[name] for name in names if files[name] == file}, tmp_path / file)
        (tmp_path / "model.safetensors.index.json").write_text(
            '{"weight_map": {' + ", ".join(f'"{name}": "{file}"' for name, file in files.items()) + "}}"
        )
    stored = StoredWeights(tmp_path)
    for name, shape in weight_shapes(decoder):
        assert torch.equal(stored.take(name, shape), state[name])
    assert max(check_layers(config, decoder, {"folder": str(tmp_path)}).values()) < 1e-5
    with pytest.raises(BadCheckpoint, match=r"has no weight model\.none"):
        stored.take("model.none", (1,))
    with pytest.raises(BadCheckpoint, match=r"is \[64\], not \[65\]"):
        stored.take("model.norm.weight", (65,))


def test_an_index_names_files_beside_it_only(tmp_path: Any) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../other.safetensors"}}')
    with pytest.raises(BadCheckpoint, match="not a file next to it"):
        StoredWeights(tmp_path)


def test_seeded_weights_do_not_change() -> None:
    """Archives and references are kept by the seed, so the numbers behind it must stay."""
    drawn = SeededWeights(describe(TINY["llama"]), 3).take("model.norm.weight", (2,))
    assert drawn.tolist() == pytest.approx([0.9190871715545654, 0.9041867256164551], abs=1e-8)
