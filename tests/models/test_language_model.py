"""A tiny language model, compiled and run by the runner: its tokens beside transformers', and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.compiler import CompileRequest, compile_models
from harness.compiler.kernels.groups import grouped
from harness.compiler.observe.provenance import read_provenance
from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.models.language.loading import transformers_model
from harness.models.language.weights import opened_weights
from harness.models.language.workload import LanguageModel, open_language_models
from harness.models.options import ModelOptions
from harness.native import Runner, build_runner
from harness.protocol.schema import LanguageWorkload, Precision, RecordOptions, Sample, WorkItem, WorkOrder
from harness.protocol.tensors import encode
from harness.results.schema.lines import ParityLine
from harness.results.summarize import item_latencies, parity_summary, timed
from harness.results.token_rates import with_rates
from harness.validate import Verdict, decodings

pytestmark = pytest.mark.compiler


def quiet(_text: str) -> None:
    pass


def opened(name: str, cache: Cache, precision: Precision = "fp32") -> LanguageModel:
    [model] = open_language_models([f"random:{name}"], ModelOptions(precision=precision), cache, quiet)
    return model


def built(model: LanguageModel, cache: Cache, precision: Precision = "fp32") -> Runner:
    request = CompileRequest([model.compilable("")], precision=precision)
    return build_runner(compile_models(request, cache=cache, progress=quiet), cache=cache, progress=quiet)


@pytest.fixture(scope="module")
def llama(user_cache: Cache) -> tuple[LanguageModel, Runner]:
    model = opened("tiny-llama", user_cache)
    return model, built(model, user_cache)


def order(model: LanguageModel, runner: Runner, **change: Any) -> WorkOrder:
    described = runner.archive.metadata.workload(model.name, "language")
    assert isinstance(described, LanguageWorkload)
    given: dict[str, Any] = {
        "items": list(model.items),
        "repetitions": 2,
        "warmup": 0,
        "probe": RecordOptions(margins=True),
        **change,
    }
    given |= {"order_id": f"order-{time.monotonic_ns()}", "archive_sha256": runner.archive.sha256}
    return WorkOrder(workloads=[described], **given)


def test_tokens_are_those_of_transformers(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    """Prompts of one and of two calls of the prefill, over a cache that earlier prompts have written."""
    model, runner = llama
    result = HostDevice(lock_folder=tmp_path).run(runner.path, order(model, runner), deadline=120)
    records = result.require_complete().records
    answers = model.expected(quiet).answers
    for line in (*model.compare(model.items, answers, records), *model.compare(model.items, answers, (), records)):
        assert line.verdict is Verdict.EQUAL, line.describe()
        assert line.margin_error is not None
        assert line.margin_error < 1e-4
    assert all(len(set(answer.token_ids)) > 8 for answer in answers.values()), (
        "a model that repeats itself proves little"
    )
    samples = [record for record in records if isinstance(record, Sample)]
    assert [one.prompt_tokens for one in samples[:3]] == [16, 64, 128]
    assert [len(one.parts["prefill"]) for one in samples[:3]] == [1, 1, 1]
    rates = with_rates(item_latencies(timed(records)), records)
    assert {item: found.tokens is not None and found.tokens.new for item, found in rates.items()} == {
        "16_tokens": 64, "64_tokens": 64, "128_tokens": 64,
    }  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["tiny-gemma2", "tiny-gemma3", "tiny-phi"])
def test_tokens_of_other_families(name: str, user_cache: Cache, tmp_path: Path) -> None:
    """Capped scores, windows and norms after each part; two kinds of positions; parts beside each other."""
    model = opened(name, user_cache)
    runner = built(model, user_cache)
    result = HostDevice(lock_folder=tmp_path).run(runner.path, order(model, runner, repetitions=1), deadline=120)
    records = result.require_complete().records
    lines = model.compare(model.items, model.expected(quiet).answers, records)
    assert [line.verdict for line in lines] == [Verdict.EQUAL] * 3, [line.describe() for line in lines]


def test_a_prompt_longer_than_a_block_and_one_of_one_token(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    """In blocks of 5 the tokens are the same, and a prompt of one token has no prefill."""
    model, runner = llama
    described = order(model, runner).workloads[0].model_copy(update={"block": 5, "new_tokens": 7})
    single = WorkItem(id="single", workload=model.name, input=encode({"prompt": np.array([3], np.int32)}))
    asked = order(model, runner, items=[model.items[0], single]).model_copy(update={"workloads": [described]})
    result = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120)
    first, alone = [record for record in result.require_complete().records if isinstance(record, Sample)][:2]
    assert tuple(first.outputs[0].token_ids) == model.expected(quiet).answers["16_tokens"].token_ids[:7]
    assert len(first.parts["prefill"]) == 3
    assert "prefill" not in alone.parts
    assert len(alone.outputs[0].token_ids) == 7


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ([1] * 129, "the prompt's 129 tokens with 64 behind them are more than the context of 192"),
        ([], "the prompt is empty"),
        ([5, 256], "token 256 is outside the vocabulary of 256"),
    ],
)
def test_a_prompt_that_cannot_run_is_a_record(
    llama: tuple[LanguageModel, Runner], tmp_path: Path, prompt: list[int], reason: str
) -> None:
    model, runner = llama
    item = WorkItem(id="p", workload=model.name, input=encode({"prompt": np.array(prompt, np.int32)}))
    result = HostDevice(lock_folder=tmp_path).run(runner.path, order(model, runner, items=[item]), deadline=60)
    assert not result.complete
    assert reason in str(result.reason)


def test_layers_share_their_kernels(llama: tuple[LanguageModel, Runner]) -> None:
    """A layer's five kernels are called in both layers, and no kernel is one layer's own."""
    model, runner = llama
    step = next(one for one in read_provenance(runner.archive.folder).functions if one.name == "step")
    names = [site.kernel for site in step.sites]
    shared = [name for name in set(names) if names.count(name) == model.decoder.layers]
    assert len(shared) == 5
    assert any("silu_gated" in name for name in shared), "the feed-forward's gate is part of its product"
    assert len(names) == len(shared) * model.decoder.layers + len(set(names)) - len(shared)


def test_both_functions_read_the_same_weights(llama: tuple[LanguageModel, Runner]) -> None:
    """Each weight is stored once, but for the embedding, which is a head of another layout too."""
    model, runner = llama
    [described] = runner.archive.metadata.models
    once = 4 * (model.decoder.parameters + model.decoder.vocab_size * model.decoder.width)
    assert once <= described.weights_bytes < 1.1 * once


def fed(model: LanguageModel, tokens: dict[str, list[int]]) -> list[WorkItem]:
    """The model's items with tokens to be fed behind their prompts."""
    inputs = {
        item: {"prompt": np.array(model.prompts[item], np.int32), "forced": np.array(tokens[item], np.int32)}
        for item in model.prompts
    }
    return [item.model_copy(update={"input": encode(inputs[item.id])}) for item in model.items]


def test_every_step_behind_tokens_that_are_fed(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    """Tokens that the model would not choose: its choice, margin and their probability are PyTorch's at each step."""
    import torch

    from harness.models.language.loading import transformers_model
    from harness.models.language.weights import opened_weights

    model, runner = llama
    drawn = np.random.Generator(np.random.PCG64(5))
    tokens = {item: drawn.integers(0, model.decoder.vocab_size, count).tolist() for item, count in
              zip(model.prompts, (64, 64, 7), strict=True)}  # fmt: skip
    asked = order(model, runner, items=fed(model, tokens), repetitions=0)
    result = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120)
    found = decodings(result.require_complete().records)
    theirs = transformers_model(model.config, opened_weights(model.decoder, {"seed": 0}))
    for item, prompt in model.prompts.items():
        [ours] = found[item]
        with torch.inference_mode():
            logits = theirs(torch.tensor([[*prompt, *tokens[item]]])).logits[0, len(prompt) - 1 : -1].double()
        best = torch.topk(logits, 2).values
        chosen = torch.log_softmax(logits, 1).gather(1, torch.tensor(tokens[item])[:, None])[:, 0]
        assert list(ours.token_ids) == logits.argmax(1).tolist()
        np.testing.assert_allclose(ours.log_probabilities or (), chosen.numpy(), atol=1e-4)
        np.testing.assert_allclose(ours.margins or (), (best[:, 0] - best[:, 1]).numpy(), atol=1e-4)
        assert ours.divergences is None


def test_divergences_are_those_of_the_whole_distributions(llama: tuple[LanguageModel, Runner], tmp_path: Path) -> None:
    """From distributions that are not the model's: exact where all tokens are named, and else a lower bound."""
    import torch

    from harness.models.language.loading import transformers_model
    from harness.models.language.reference_worker import most_probable
    from harness.models.language.weights import opened_weights

    model, runner = llama
    drawn = np.random.Generator(np.random.PCG64(6))
    prompt, tokens = model.prompts["16_tokens"], drawn.integers(0, 256, 20).tolist()
    with torch.inference_mode():
        theirs = transformers_model(model.config, opened_weights(model.decoder, {"seed": 0}))
        ours = theirs(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].double()
    other = (ours + torch.from_numpy(drawn.normal(0, 0.7, ours.shape))).float()
    logs = torch.log_softmax(other.double(), 1)
    exact = (logs.exp() * (logs - torch.log_softmax(ours, 1))).sum(1).numpy()
    found = {}
    for count in (256, 40, 1):
        top, logarithms = most_probable(other, count)
        arrays = {"prompt": prompt, "forced": tokens, "top_tokens": top}
        inputs: dict[str, Any] = {name: np.array(one, np.int32) for name, one in arrays.items()}
        inputs["top_logarithms"] = np.array(logarithms, np.float32)
        item = WorkItem(id=f"top{count}", workload=model.name, input=encode(inputs))
        result = HostDevice(lock_folder=tmp_path).run(
            runner.path, order(model, runner, items=[item], repetitions=0), deadline=120
        )
        [decoded] = decodings(result.require_complete().records)[item.id]
        found[count] = np.array(decoded.divergences)
    assert exact.min() > 0.05
    np.testing.assert_allclose(found[256], exact, atol=1e-4)
    assert (found[40] < exact + 1e-4).all()
    assert (found[1] < found[40] + 1e-4).all()
    assert found[40].mean() > 0.4 * exact.mean()


@pytest.mark.parametrize(
    ("tokens", "reason"), [([1] * 65, "65 forced tokens, the model decodes 64"), ([-1], "outside the vocabulary")]
)
def test_tokens_that_cannot_be_fed(
    llama: tuple[LanguageModel, Runner], tmp_path: Path, tokens: list[int], reason: str
) -> None:
    model, runner = llama
    items = fed(model, dict.fromkeys(model.prompts, tokens))
    result = HostDevice(lock_folder=tmp_path).run(runner.path, order(model, runner, items=items), deadline=120)
    assert not result.complete
    assert reason in str(result.reason)


def with_int4_weights(model: LanguageModel) -> Any:
    """transformers' own model, in float32, with the layers' weights as they are rounded to int4."""
    weights = opened_weights(model.decoder, {"seed": model.weights["seed"]})
    found = transformers_model(model.config, weights)
    with torch.no_grad():
        for layer in found.model.layers.modules():
            if isinstance(layer, torch.nn.Linear):
                nibbles, scales = grouped(np.ascontiguousarray(layer.weight.numpy().T), 32)
                rounded = (nibbles.astype(np.float32) - 8) * np.repeat(scales.astype(np.float32), 32, axis=0)
                layer.weight.copy_(torch.from_numpy(rounded.T.copy()))
    return found


def mean_log_probability(model: Any, prompt: Sequence[int], tokens: Sequence[int]) -> float:
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        found = torch.log_softmax(logits, -1)[range(len(tokens)), list(tokens)]
    return float(found.mean())


@pytest.mark.thorough(keep=["int4*"])
@pytest.mark.parametrize(("precision", "equal", "apart"), [("int8", 0.8, 0.1), ("int4", 0.5, 0.3)])
def test_a_lossy_model_is_compared_at_every_step(
    user_cache: Cache, tmp_path: Path, precision: Precision, equal: float, apart: float
) -> None:
    model = opened("tiny-qwen3", user_cache, precision)
    runner = built(model, user_cache, precision)
    assert runner.archive.metadata.precision == precision
    answers = model.expected(quiet).answers
    asked = order(model, runner, items=model.compared_items(answers), repetitions=0)
    records = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120).require_complete().records
    lines = model.compare(model.items, answers, records)
    assert not [line.describe() for line in lines if line.verdict.fails]
    assert [line.tokens for line in lines] == [64, 64, 64]
    summary = parity_summary([ParityLine(**line.model_dump()) for line in lines])
    assert summary.tokens == 192
    assert summary.tokens_equal is not None
    assert equal * 192 < summary.tokens_equal < 192, "it differs somewhere, and goes on behind it"
    assert summary.perplexity is not None
    assert summary.expected_perplexity is not None
    assert summary.perplexity == pytest.approx(summary.expected_perplexity, rel=apart)
    assert summary.perplexity != summary.expected_perplexity
    assert summary.kl is not None
    assert 1e-6 < summary.kl < (0.5 if precision == "int4" else 0.05)
    if precision == "int4":
        lossy = with_int4_weights(model)
        for line in lines:
            prompt, tokens = model.prompts[line.item], answers[line.item].token_ids
            rounded = mean_log_probability(lossy, prompt, tokens)
            assert line.log_probability == pytest.approx(rounded, abs=0.01)
            assert line.expected_log_probability != pytest.approx(rounded, abs=0.001)
    # Decoded freely, the same model parts from PyTorch's text, and what is behind is not comparable.
    free = order(model, runner, items=list(model.items), repetitions=1, probe=None)
    records = HostDevice(lock_folder=tmp_path).run(runner.path, free, deadline=120).require_complete().records
    assert [line.step for line in model.compare(model.items, answers, (), records)] == [line.step for line in lines]
