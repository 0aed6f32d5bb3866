"""Tokens by chance: the runner's scores beside transformers' logits processors, and its draws beside Python's."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.models.language.workload import LanguageModel
from harness.native import Runner
from harness.protocol.schema import LanguageWorkload, Probe, RecordOptions, Sampling
from tests.models.test_language_model import built, opened, order

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here")]
ROOT = Path(__file__).parents[2]
FLOATS = npt.NDArray[np.float32]
MASK = 2**64 - 1


def processors(sampling: Sampling) -> LogitsProcessorList:
    """Return transformers' own, in the order in which its ``generate`` has them."""
    found = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature != 1.0:
        found.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        found.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        found.append(MinPLogitsWarper(sampling.min_p))
    return found


def expected_scores(logits: FLOATS, text: Sequence[int], sampling: Sampling) -> FLOATS:
    ids = torch.tensor([list(text)], dtype=torch.long)
    found = processors(sampling)(ids, torch.from_numpy(logits.copy())[None])
    return found[0].numpy()  # type: ignore[no-any-return]


def random_numbers(seed: int) -> Iterator[float]:
    """SplitMix64 by its definition, as numbers from 0 to below 1."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        yield ((mixed ^ (mixed >> 31)) >> 11) / 2**53


def drawn(logits: FLOATS, text: Sequence[int], sampling: Sampling, count: int) -> list[int]:
    """Return the tokens that inverse sampling gives from transformers' scores."""
    numbers, tokens = random_numbers(sampling.seed), list(text)
    for _ in range(count):
        scores = expected_scores(logits, tokens, sampling).astype(np.float64)
        weights = np.exp(scores - scores.max())
        reached = np.cumsum(weights)
        tokens.append(int(np.searchsorted(reached, next(numbers) * reached[-1], side="right")))
    return tokens[len(text) :]


ARM64 = "aarch64-unknown-linux-musl"
EMULATED = {
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER": "rust-lld",
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER": "qemu-aarch64-static",
}


def answers(cases: Sequence[dict[str, Any]], *target: str) -> list[dict[str, Any]]:
    """Return the answers of the Rust program."""
    asked = "".join(json.dumps(case) + "\n" for case in cases)
    command = ["cargo", "run", "--locked", "--quiet", "-p", "charsiug2p-workload", "--example", "sampling", *target]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | EMULATED, input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def case(logits: FLOATS, text: Sequence[int], sampling: Sampling, draw: int = 0) -> dict[str, Any]:
    bits = np.asarray(logits, np.float32).view(np.uint32).tolist()
    return {"logits": bits, "text": list(text), "options": sampling.model_dump(), "draw": draw}


def cases() -> Iterator[tuple[FLOATS, list[int], Sampling]]:
    """Logits of many shapes with options alone and together."""
    rng = np.random.Generator(np.random.PCG64(11))
    alone: list[dict[str, Any]] = [
        *({"temperature": value} for value in (0.1, 0.7, 1.0, 1.3, 10.0)),
        *({"top_k": value} for value in (1, 2, 50, 399, 400, 1_000_000)),
        *({"top_p": value} for value in (0.0, 0.1, 0.5, 0.9, 0.999, 1.0)),
        *({"min_p": value} for value in (0.0, 0.01, 0.2, 1.0)),
        *({"repetition_penalty": value} for value in (0.5, 1.0, 1.1, 1.3, 5.0)),
        {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1},
        {"temperature": 1.7, "top_k": 300, "top_p": 0.8, "repetition_penalty": 0.9},
    ]
    text = rng.integers(0, 400, 30).tolist()
    text += text[:5]
    normal = rng.normal(0, 3, 400).astype(np.float32)
    steep = (rng.normal(0, 1, 400) ** 3 * 10).astype(np.float32)
    tied = rng.integers(-4, 5, 400).astype(np.float32)
    alike = np.full(400, 1.5, np.float32)
    some = normal.copy()
    some[rng.integers(0, 400, 200)] = -np.inf
    one = np.full(400, -np.inf, np.float32)
    one[7] = -3.0
    zeros = np.where(rng.random(400) < 0.5, np.float32(0.0), np.float32(-0.0)).astype(np.float32)
    far = rng.normal(0, 1e4, 400).astype(np.float32)
    for logits in (normal, steep, tied, alike, some, one, zeros, far):
        for options in alone:
            yield logits, text, Sampling.model_validate(options)
    for _ in range(60):
        size = int(rng.integers(1, 2000))
        options = {
            "temperature": float(rng.uniform(0.2, 2)),
            "top_k": int(rng.integers(0, size + 50)),
            "top_p": float(rng.uniform(0.1, 1)),
            "min_p": float(rng.choice([0.0, rng.uniform(0, 0.3)])),
            "repetition_penalty": float(rng.uniform(0.8, 1.5)),
        }
        logits = rng.normal(0, rng.uniform(0.5, 8), size).astype(np.float32)
        yield logits, rng.integers(0, size, 20).tolist(), Sampling.model_validate(options)


def test_scores_are_those_of_transformers() -> None:
    """Bit for bit, and of equal scores at the border of top-p as many: a sort that is not stable may choose others."""
    asked = list(cases())
    found = answers([case(*one) for one in asked])
    assert len(found) == len(asked) > 250
    left_out = 0
    for (logits, text, sampling), answer in zip(asked, found, strict=True):
        theirs = expected_scores(logits, text, sampling)
        ours = np.array(answer["scores"], np.uint32).view(np.float32)
        assert np.array_equal(np.sort(ours), np.sort(theirs)), (sampling, logits[:5])
        different = ours != theirs
        border = theirs[np.isfinite(theirs)].min()
        assert set(np.maximum(ours, theirs)[different].tolist()) <= {border.item()}, sampling
        left_out += int(np.isneginf(ours).sum() > np.isneginf(logits).sum())
    assert left_out > 100, "cases in which nothing is left out prove little"


def test_draws_are_those_of_the_seed() -> None:
    rng = np.random.Generator(np.random.PCG64(12))
    asked = [
        (rng.normal(0, 2, 300).astype(np.float32), [1, 2, 3], Sampling.model_validate({**options, "seed": seed}))
        for seed in (0, 1, 7, 2**53, 2**64 - 1)
        for options in ({}, {"temperature": 0.7, "top_k": 20}, {"top_p": 0.9, "repetition_penalty": 1.2})
    ]
    for one, answer in zip(asked, answers([case(*one, draw=40) for one in asked]), strict=True):
        assert answer["tokens"] == drawn(*one, count=40), one[2]


@pytest.mark.emulator
@pytest.mark.thorough
def test_another_processor_gives_the_same_scores_and_tokens() -> None:
    asked = [case(logits, text, sampling, draw=5) for logits, text, sampling in cases()]
    assert answers(asked, "--target", ARM64) == answers(asked)


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        ([0.0, math.nan, 1.0], "the scores hold NaN"),
        ([0.0, math.inf], "the scores hold inf"),
        ([-math.inf, -math.inf], "no token has a score above minus infinity"),
    ],
)
def test_logits_of_which_transformers_draws_nothing_are_an_error(logits: list[float], reason: str) -> None:
    values = np.array(logits, np.float32)
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.softmax(torch.from_numpy(values), 0), 1)
    for options in ({}, {"top_k": 1}, {"top_p": 0.5}, {"min_p": 0.5}):
        [answer] = answers([case(values, [], Sampling.model_validate(options), draw=1)])
        assert answer == {"error": reason}


@pytest.fixture(scope="module")
def llama(user_cache: Cache) -> tuple[LanguageModel, Runner]:
    model = opened("tiny-llama", user_cache)
    return model, built(model, user_cache)


SAMPLING = Sampling(temperature=0.7, top_k=30, top_p=0.95, repetition_penalty=1.1, seed=5)


def sampled(
    llama: tuple[LanguageModel, Runner], folder: Path, sampling: Sampling | None, **change: Any
) -> dict[str, Probe]:
    """Return the probes of all items, with the logits of every step."""
    model, runner = llama
    asked = order(
        model, runner, repetitions=0, probe=RecordOptions(margins=True, logit_steps=list(range(model.tokens)))
    )
    described = asked.workloads[0]
    assert isinstance(described, LanguageWorkload)
    asked = asked.model_copy(update={"workloads": [described.model_copy(update={"sampling": sampling, **change})]})
    records = HostDevice(lock_folder=folder).run(runner.path, asked, deadline=120).require_complete().records
    return {record.items[0]: record for record in records if isinstance(record, Probe)}


def test_the_runner_draws_from_transformers_scores(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    """Each token is the one that its logits and the seed give, and is fed: the logits after it follow from it."""
    model, _ = llama
    found = sampled(llama, tmp_path, SAMPLING)
    greedy = sampled(llama, tmp_path, None)
    for item, prompt in model.prompts.items():
        output = found[item].outputs[0]
        assert output.logits is not None
        text, numbers = list(prompt), random_numbers(SAMPLING.seed)
        for step, token in enumerate(output.token_ids):
            scores = expected_scores(np.array(output.logits[step], np.float32), text, SAMPLING).astype(np.float64)
            reached = np.cumsum(np.exp(scores - scores.max()))
            assert token == int(np.searchsorted(reached, next(numbers) * reached[-1], side="right")), (item, step)
            text.append(token)
        assert len(output.token_ids) == model.tokens
        assert output.token_ids != greedy[item].outputs[0].token_ids
    theirs = logits_after(model, "16_tokens", found["16_tokens"].outputs[0].token_ids)
    ours = found["16_tokens"].outputs[0].logits or {}
    np.testing.assert_allclose([ours[step] for step in sorted(ours)], theirs, atol=1e-4)


def logits_after(model: LanguageModel, item: str, tokens: Sequence[int]) -> FLOATS:
    """Return transformers' logits [tokens, vocabulary] of the step at which each of the tokens was drawn."""
    from harness.models.language.loading import transformers_model
    from harness.models.language.weights import opened_weights

    theirs = transformers_model(model.config, opened_weights(model.decoder, {"seed": 0}))
    prompt = model.prompts[item]
    with torch.inference_mode():
        logits = theirs(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    return logits.numpy()  # type: ignore[no-any-return]


def test_a_seed_is_repeated_and_a_drawn_token_stops(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    first, again = (sampled(llama, tmp_path, SAMPLING) for _ in range(2))
    other = sampled(llama, tmp_path, SAMPLING.model_copy(update={"seed": 6}))
    tokens = {item: probe.outputs[0].token_ids for item, probe in first.items()}
    assert tokens == {item: probe.outputs[0].token_ids for item, probe in again.items()}
    assert tokens != {item: probe.outputs[0].token_ids for item, probe in other.items()}
    stop = tokens["64_tokens"][9]
    stopped = sampled(llama, tmp_path, SAMPLING, stop_tokens=[stop])["64_tokens"].outputs[0]
    at = tokens["64_tokens"].index(stop)
    assert (stopped.token_ids, stopped.ended) == (tokens["64_tokens"][: at + 1], "stop_token")


def test_the_least_temperature_is_greedy(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    cold = sampled(llama, tmp_path, Sampling(temperature=1e-3, top_k=1))
    greedy = sampled(llama, tmp_path, None)
    assert {item: one.outputs[0].token_ids for item, one in cold.items()} == {
        item: one.outputs[0].token_ids for item, one in greedy.items()
    }
