"""GGUF files: held against llama.cpp's own ``gguf`` package, which writes and unpacks them, and transformers."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.workers.language_llama_cpp import convert
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.models.errors import BadCheckpoint
from harness.models.kinds import open_workloads
from harness.models.language.config_keys import UnknownPart
from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.families import describe
from harness.models.language.gguf import TYPES, Gguf
from harness.models.language.gguf_model import configuration, gguf_name, llama3_factors, stored_weight
from harness.models.options import ModelOptions
from tests.models.language_folder import save_folder
from tests.models.test_language_texts import train

pytestmark = pytest.mark.programs


def quiet(_text: str) -> None:
    pass


def opened(cache: Cache, path: Path) -> Any:
    [found] = open_workloads(ModelOptions(models=(f"generate:{path}",)), cache=cache, progress=quiet)
    return found


def written(folder: Path, precision: str, name: str = "tiny-llama", **change: Any) -> Path:
    """A file that the package writes of a model with seeded weights."""
    save_folder(folder / "source", name, **change)
    convert(folder / "source", folder / f"small-{precision}.gguf", precision)
    return folder / f"small-{precision}.gguf"


@pytest.mark.parametrize("kind", [one.name for one in TYPES.values()])
def test_weights_are_unpacked_as_the_package_unpacks_them(kind: str) -> None:
    """Any bytes, and for types that it can also pack, what it packs of usual weights."""
    number = gguf.GGMLQuantizationType[kind]
    ours = TYPES[int(number)]
    drawn = np.random.Generator(np.random.PCG64(3))
    blocks = drawn.integers(0, 256, (40, ours.size), np.uint8)
    # Scales that are no numbers are in no file.
    halves = {"Q4_0": (0,), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}.get(kind, range(0, ours.size, 2))
    for at in halves if kind != "F32" else (2,):
        blocks[:, at + 1] = blocks[:, at + 1] % 64 + 1
    theirs = gguf.dequantize(blocks if kind not in ("F32", "F16") else blocks.view(f"<f{ours.size}"), number)
    found = ours.unpack(blocks)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.ravel(), np.asarray(theirs, np.float32).ravel())
    if kind in ("Q4_0", "Q8_0"):
        packed = gguf.quantize(drawn.normal(0, 0.05, (4, 128)).astype(np.float32), number)
        np.testing.assert_array_equal(
            ours.unpack(packed.reshape(-1, ours.size)).ravel(), gguf.dequantize(packed, number).ravel()
        )


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_a_file_is_the_model_that_was_written(tmp_path: Path, cache: Cache, name: str) -> None:
    """The same configuration, and the same weights in transformers' order of rows."""
    from safetensors.numpy import load_file

    path = written(tmp_path, "fp32", name)
    model = opened(cache, path)
    config = CONFIGURATIONS[name]
    ours, theirs = model.decoder, describe(config)
    assert ours.eps == pytest.approx(theirs.eps)
    assert describe({**model.config, "rms_norm_eps": theirs.eps}) == theirs
    file = Gguf(path)
    for weight, stored in load_file(tmp_path / "source/model.safetensors").items():
        np.testing.assert_array_equal(stored_weight(file, weight, theirs.heads, theirs.kv_heads), stored)
    assert (model.name, model.stops) == ("small_fp32", ())
    assert model.compilable("").request["source"] == {"gguf": str(path)}


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_weights_are_those_of_transformers_own_reader(tmp_path: Path, precision: str) -> None:
    """Its reader of GGUF puts the rows back by code of its own. Our blocks are compared with its modules, too."""
    import torch
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    from harness.models.language.loading import check_layers, transformers_model
    from harness.models.language.weights import opened_weights

    path = written(tmp_path, precision)
    config = configuration(Gguf(path))
    source = {"gguf": str(path)}
    ours = transformers_model(config, opened_weights(describe(config), source))
    theirs = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=ours)
    given, state = theirs["tensors"], ours.state_dict()
    assert given.keys() >= {name for name in state if name != "lm_head.weight"}
    for name, weight in given.items():
        torch.testing.assert_close(state[name], weight.float(), atol=0, rtol=0)
    same = ("hidden_size", "num_hidden_layers", "num_key_value_heads", "intermediate_size", "max_position_embeddings")
    assert {name: theirs["config"][name] for name in same} == {name: config[name] for name in same}
    assert max(check_layers(config, describe(config), source).values()) < 1e-4


def test_a_tokenizer_beside_the_file_gives_prompts_as_texts(tmp_path: Path, cache: Cache) -> None:
    path = written(tmp_path, "int8", vocab_size=400, max_position_embeddings=1024)
    train(tmp_path / "tokenizer.json")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 1}))
    model = opened(cache, path)
    assert model.codec is not None
    assert model.stops == (1,)
    assert next(iter(model.prompts)) == "the_three_largest_cities_of"


def own_file(path: Path, arch: str = "llama", tensors: dict[str, Any] | None = None, **metadata: Any) -> Path:
    """A file with a small model's metadata, changed, and few weights."""
    writer = gguf.GGUFWriter(str(path), arch)
    sizes = {"context_length": 512, "embedding_length": 64, "block_count": 2, "feed_forward_length": 128}
    heads = {"attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5}
    for key, value in {**sizes, **heads, "rope.freq_base": 5e5, **metadata}.items():
        if isinstance(value, float):
            writer.add_float32(f"{arch}.{key}", value)
        elif isinstance(value, str):
            writer.add_string(f"{arch}.{key}", value)
        else:
            writer.add_uint32(f"{arch}.{key}", value)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_array("tokenizer.ggml.scores", [1.0, 2.0])
    writer.add_uint32("tokenizer.ggml.eos_token_id", 7)
    for name, array in {"token_embd.weight": np.zeros((256, 64), np.float32), **(tensors or {})}.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_scaled_positions(tmp_path: Path) -> None:
    plain = configuration(Gguf(own_file(tmp_path / "a.gguf")))
    assert "rope_scaling" not in plain
    assert plain["eos_token_id"] == [7]
    assert plain["tie_word_embeddings"] is True
    asked: dict[str, Any] = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    linear = own_file(tmp_path / "b.gguf", **asked)
    rotary = describe(configuration(Gguf(linear))).rotary
    assert rotary is not None
    assert (rotary.scaling, rotary.factor) == ("linear", 4.0)
    factors: dict[str, Any] = {"rope_freqs.weight": llama3_factors(5e5, 16, 32.0)}
    rotary = describe(configuration(Gguf(own_file(tmp_path / "c.gguf", tensors=factors)))).rotary
    assert rotary is not None
    assert (rotary.scaling, rotary.factor) == ("llama3", 32.0)


def test_llama3s_factors_are_those_of_our_frequencies() -> None:
    """``rotary.frequencies``, which is compared with transformers', is the plain one divided by them."""
    from harness.models.language.description import Rotary
    from harness.models.language.rotary import frequencies

    plain, scaled = Rotary(5e5), Rotary(5e5, "llama3", 8.0, 1.0, 4.0, 8192)
    ratio = (frequencies(plain, 64) / frequencies(scaled, 64)).numpy()
    np.testing.assert_allclose(llama3_factors(5e5, 64, 8.0), ratio, rtol=1e-5)


@pytest.mark.parametrize(
    ("arch", "change", "reason"),
    [
        ("mamba", {}, "the architecture of .* is 'mamba'"),
        ("llama", {"expert_count": 8}, "llama with expert_count = 8"),
        ("llama", {"rope.dimension_count": 8}, "rope.dimension_count = 8 and heads of 16"),
        ("llama", {"rope.scaling.type": "yarn"}, "scaling 'yarn'"),
        ("llama", {"tensors": {"rope_freqs.weight": np.full(8, 3.0, np.float32)}}, "not those of Llama 3"),
    ],
)
def test_unknown_parts_are_refused(tmp_path: Path, arch: str, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownPart, match=reason):
        configuration(Gguf(own_file(tmp_path / "a.gguf", arch, **change)))


def test_a_type_that_is_not_read_and_a_weight_that_is_not_there(tmp_path: Path) -> None:
    path = own_file(tmp_path / "a.gguf")
    file = Gguf(path)
    with pytest.raises(BadCheckpoint, match=r"has no weight blk\.0\.attn_q\.weight"):
        stored_weight(file, "model.layers.0.self_attn.q_proj.weight", 4, 2)
    stored = file.tensors["token_embd.weight"]
    file.tensors["token_embd.weight"] = type(stored)(stored.shape, 3, stored.offset)
    with pytest.raises(BadCheckpoint, match="is of ggml's type 3, and read are F32, F16, Q4_0, Q8_0, Q4_K, Q6_K, BF16"):
        file.weight("token_embd.weight")
    assert gguf_name("lm_head.weight") == "output.weight"


def test_damaged_files_are_refused(tmp_path: Path, cache: Cache) -> None:
    """Cut anywhere, or with bytes changed at random in the description: an error of ours, or a file that is read."""
    whole = own_file(tmp_path / "a.gguf").read_bytes()
    bad = tmp_path / "bad.gguf"
    end = len(whole) - 256 * 64 * 4
    for length in range(0, end - 64, 7):
        bad.write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint):
            Gguf(bad)
    bad.write_bytes(whole[:-1])
    with pytest.raises(BadCheckpoint, match="ends within the weight"):
        Gguf(bad).weight("token_embd.weight")
    drawn = random.Random(5)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            changed[drawn.randrange(end)] = drawn.randrange(256)
        bad.write_bytes(changed)
        try:
            file = Gguf(bad)
            describe(configuration(file))
            file.weight("token_embd.weight")
        except UsageError:
            refused += 1
    assert refused > 30
    bad.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0))
    with pytest.raises(BadCheckpoint, match="has a count of"):
        Gguf(bad)
    bad.write_bytes(b"GGUF" + struct.pack("<I", 9))
    with pytest.raises(BadCheckpoint, match="of version 9"):
        Gguf(bad)
    with pytest.raises(UsageError, match="there is no file"):
        opened(cache, tmp_path / "nowhere.gguf")
    save_file({"a": np.ones(3, np.float32)}, bad)
    with pytest.raises(BadCheckpoint, match="is no GGUF file"):
        opened(cache, bad)
