"""The description of a decoder: what is read from a configuration, and what is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.models.language.config_keys import UnknownPart, read_config
from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.description import Rotary
from harness.models.language.families import describe

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 128,
}
PUBLISHED = {
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "llama-3.2-1b": 1_235_814_400,
    "tinyllama-1.1b": 1_100_048_384,
    "gpt2": 124_439_808,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "phi-1.5": 1_418_270_720,
    "phi-2": 2_779_683_840,
}
"""The parameters that the models' cards give, in full."""


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_published_configuration_is_described(name: str) -> None:
    assert describe(CONFIGURATIONS[name]).parameters == PUBLISHED.get(name, describe(CONFIGURATIONS[name]).parameters)


def test_sizes_have_the_defaults_of_transformers() -> None:
    found = describe(LLAMA)
    assert (found.kv_heads, found.head_size, found.context, found.tied) == (4, 16, 2048, False)
    assert found.rotary == Rotary(10000.0)
    assert found.window(1) == 0


def test_positions_are_read_from_both_forms() -> None:
    scaled = {"type": "linear", "factor": 2.0}
    assert describe({**LLAMA, "rope_theta": 5e5, "rope_scaling": scaled}).rotary == Rotary(5e5, "linear", 2.0)
    given = {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}
    assert describe({**LLAMA, "rope_parameters": given}).rotary == Rotary(5e5, "linear", 2.0)


def test_windows_are_of_the_layers_that_have_one() -> None:
    qwen = {**LLAMA, "model_type": "qwen2", "sliding_window": 8}
    assert describe(qwen).windows == ()
    assert describe({**qwen, "use_sliding_window": True, "max_window_layers": 1}).windows == (0, 8)
    assert describe({**LLAMA, "model_type": "mistral", "sliding_window": 8}).windows == (8, 8)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba', known are llama"),
        ({"hidden_act": "mish"}, "the activation hidden_act is 'mish'"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, "the scaling 'dynamic'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": False}}, "truncate = false"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "mscale": 0.7}}, "mscale = 0.7: that part is not known"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5: that part is not known"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        ({"model_type": "phi", "qk_layernorm": True}, "qk_layernorm"),
        ({"model_type": "gemma2", "use_bidirectional_attention": True}, "use_bidirectional_attention"),
        (
            {"model_type": "gemma3_text", "layer_types": ["chunked_attention"] * 2},
            "layer_types has 'chunked_attention'",
        ),
        ({"model_type": "phi3", "rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "the scaling 'longrope'"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 4.0, "beta": 1}}, "beta = 1: that part is not known"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0: that part is not known"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"sliding_window": 4}, "llama with sliding_window = 4"),
        ({"num_key_value_heads": 3}, "4 heads cannot share the keys of 3"),
        ({"hidden_size": 66}, "no multiple of 4 heads"),
        ({"hidden_size": None}, "no hidden_size"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"vocab_size": 1 << 30}, "vocab_size is 1073741824"),
        ({"head_dim": 15}, "no pairs to rotate"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0"),
        ({"mlp_bias": 1}, "mlp_bias is 1"),
    ],
)
def test_the_first_unknown_part_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnknownPart, match=named.replace("[", r"\[")):
        describe({**LLAMA, **change})


def test_keys_without_a_meaning_for_the_answer_are_passed_over() -> None:
    usual = {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "torch_dtype": "bfloat16", "use_cache": True}
    assert describe({**LLAMA, **usual, "attn_logit_softcapping": None}) == describe(LLAMA)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", None])
def test_a_file_that_is_no_configuration_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnknownPart, match=r"config\.json"):
        read_config(path)


def test_a_configuration_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert read_config(tmp_path / "config.json") == LLAMA
