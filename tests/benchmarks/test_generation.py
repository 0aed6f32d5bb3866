"""The figures of generation.py, its options, the weights that llama.cpp gets, and what is served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks import generation
from benchmarks.environments import _sources
from benchmarks.generation import LLAMA, OURS, TRANSFORMERS, WORKERS, compare, status_of
from benchmarks.generation_runs import TOKEN_BYTES, Measured, Run, agreeing, distance, ratio
from benchmarks.token_costs import peak_memory, token_bytes
from benchmarks.workers.language_llama_cpp import converted, gguf_name, interleaved, tensor_type
from benchmarks.workers.language_serving import answer_to
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.families import describe
from harness.models.language.ops import _rotated
from harness.models.language.weights import SeededWeights, weight_shapes
from harness.models.language.workload import open_language_models
from harness.models.options import ModelOptions

pytestmark = pytest.mark.programs


def test_rates_are_of_the_prompt_and_of_the_tokens_behind_the_first() -> None:
    run = Run(first_ns=2_000_000_000, rest_ns=7_000_000_000)
    assert (run.prefill(128), run.decode(64)) == (64.0, 9.0)


def test_a_ratio_is_that_of_one_round() -> None:
    ours = Measured(rounds=[[Run(1, 1), Run(3, 1), Run(1, 1)], [Run(2, 1)]])
    other = Measured(rounds=[[Run(2, 1)], [Run(8, 1)]])
    assert ratio(ours, other, "prefill", 1) == 3.0


def test_the_distance_from_reading_is_that_of_a_rounds_own_memory() -> None:
    one = Measured(facts={TOKEN_BYTES: "50"}, rounds=[[Run(1, 1_000_000_000)], [Run(1, 2_000_000_000)]])
    assert distance(one, 3, [200.0, 200.0]) == 3.0, "two tokens a second are 100 bytes, and one is 50"
    assert distance(one, 3, [200.0]) is None
    assert distance(Measured(rounds=one.rounds), 3, [200.0, 200.0]) is None


def test_a_token_reads_all_weights_but_the_embeddings_and_its_cache(cache: Cache) -> None:
    [model] = open_language_models(["random:tiny-llama"], ModelOptions(precision="int4"), cache, print)
    table, positions = 256 * 64, 128 + 32
    assert token_bytes(model, "int4", 10**6) == 10**6 - 2 * table + 2 * (2 * 2 * 32 * positions)
    assert token_bytes(model, "fp32", 10**6) == 10**6 - 4 * table + 4 * (2 * 2 * 32 * positions)


def test_peak_memory_of_a_process() -> None:
    assert peak_memory(0) is None
    own = peak_memory(os.getpid())
    assert own is None or own > 10**6


def test_the_weight_of_the_logits_keeps_eight_bits() -> None:
    names = ["token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"]
    axes = [2, 2, 1]
    found = {precision: [tensor_type(precision, *one) for one in zip(names, axes, strict=True)] for precision in
             ("fp32", "int8", "int4")}  # fmt: skip
    assert found == {
        "fp32": ["F32", "F32", "F32"],
        "int8": ["Q8_0", "Q8_0", "F32"],
        "int4": ["Q8_0", "Q4_0", "F32"],
    }


@pytest.mark.parametrize(("tokens", "count"), [([1, 2, 3], 3), ([1, 9, 3], 1), ([], 0), ([1, 2], 2)])
def test_tokens_agree_up_to_the_first_that_differs(tokens: list[int], count: int) -> None:
    assert agreeing(tokens, [1, 2, 3]) == count


def test_the_status_names_what_went_wrong() -> None:
    right, wrong = Measured(tokens=[1]), Measured(tokens=[2])
    assert status_of({OURS: right, TRANSFORMERS: Measured(tokens=[1])}, "fp32") is ExitCode.OK
    assert status_of({OURS: wrong, TRANSFORMERS: right}, "fp32") is ExitCode.FAILURE
    assert status_of({OURS: wrong, TRANSFORMERS: right}, "int8") is ExitCode.OK
    assert status_of({OURS: right, LLAMA: Measured(failure="x")}, "fp32") is ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engines": "ours,vllm"}, "no engine 'vllm'"),
        ({"precision": "fp16"}, "fp16 is not compared"),
        ({"model": "ghost"}, "no configuration is named 'ghost'"),
        ({"core": 4000}, "are not all usable"),
    ],
)
def test_wrong_usage(change: dict[str, Any], message: str) -> None:
    given = {"model": "tiny-llama", "precision": "fp32", "engines": OURS, "core": 0, **change}
    with pytest.raises(UsageError, match=message):
        compare(Console(), threads=1, rounds=1, repeat=1, ahead=False, deadline=1.0, json_path=None, **given)


class Counting:
    """Answers the next number."""

    facts: dict[str, str]

    def __init__(self) -> None:
        self.facts = {}
        self.prompts = 0

    def begin(self, prompt: Sequence[int]) -> int:
        self.prompts += 1
        return prompt[-1] + 1

    def step(self, token: int) -> int:
        return token + 1


def test_an_engine_is_asked_once_more_than_it_is_timed() -> None:
    engine = Counting()
    answer = answer_to(engine, {"prompt": [3, 4], "tokens": 3, "repeat": 2})
    assert answer["token_ids"] == [5, 6, 7]
    assert len(answer["runs"]) == 2
    assert engine.prompts == 3


def test_an_engine_that_fails_is_left_out_of_further_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Engine:
        def __init__(self, name: str) -> None:
            self.peak_bytes = 1
            self.name, self.facts, self.left = name, {"version": "1"}, 1 if name == TRANSFORMERS else 9

        def round(self, _repeat: int) -> tuple[list[Run], list[int]]:
            self.left -= 1
            if self.left < 0:
                raise HarnessError("it stopped", cure="none")
            return [Run(1, 1)], [1]

        def close(self) -> None:
            closed.append(self.name)

    def opened(name: str, _asked: Any) -> Engine:
        if name == LLAMA:
            raise HarnessError("not built", cure="none")
        return Engine(name)

    monkeypatch.setattr(generation, "opened", opened)

    class Asked:
        console = Console(quiet=True)

    found = generation.take((OURS, TRANSFORMERS, LLAMA), 3, 1, Asked())  # type: ignore[arg-type]
    assert [len(one.rounds) for one in found.values()] == [3, 1, 0]
    assert ["not built" in str(one.failure) for one in found.values()] == [False, False, True]
    assert closed == [TRANSFORMERS, OURS]


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_every_weight_has_a_name_of_llama_cpp(name: str) -> None:
    config = CONFIGURATIONS[name]
    decoder = describe(config)
    weights = SeededWeights(decoder)
    tensors = {stored: weights.take(stored, shape).numpy() for stored, shape in weight_shapes(decoder)}
    found = dict(converted(config, tensors))
    assert len(found) == len(tensors)
    assert gguf_name("model.layers.1.mlp.down_proj.weight") == "blk.1.ffn_down.weight"
    query = tensors["model.layers.0.self_attn.q_proj.weight"]
    assert np.array_equal(found["blk.0.attn_q.weight"], query) is (name == "tiny-qwen3")


def test_rotated_neighbours_are_rotated_halves_in_another_order() -> None:
    """A product of a query and a key is the same, whichever pairs are rotated."""
    size, heads = 8, 2
    weight = np.random.default_rng(0).standard_normal((heads * size, 3)).astype(np.float32)
    angles = np.linspace(0.1, 2.0, size // 2).astype(np.float32)
    rotation = torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)]))
    halves = _rotated(torch.from_numpy(weight.reshape(heads, size, 3).swapaxes(1, 2).copy()), rotation).numpy()
    pairs = interleaved(weight, heads).reshape(heads, size // 2, 2, 3)
    one, other = pairs[:, :, 0], pairs[:, :, 1]
    cosines, sines = np.cos(angles)[None, :, None], np.sin(angles)[None, :, None]
    turned = np.stack([one * cosines - other * sines, other * cosines + one * sines], 2)
    found = turned.reshape(heads, size, 3).swapaxes(1, 2)
    np.testing.assert_allclose(found @ found.swapaxes(1, 2), halves @ halves.swapaxes(1, 2), rtol=1e-5, atol=1e-5)


def test_only_the_packages_that_have_to_be_are_built() -> None:
    options = _sources(WORKERS / "llama-cpp.txt", ("llama-cpp-python",))
    built = [options[at + 1] for at, word in enumerate(options) if word == "--no-binary"]
    assert built == ["llama-cpp-python"]
    assert "numpy" in options
    assert _sources(WORKERS / "llama-cpp.txt", ()) == ["--only-binary", ":all:"]
