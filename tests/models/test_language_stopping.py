"""Where generations of language models end: beside transformers' own ``generate``, and in the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.models.language.config_keys import UnknownPart
from harness.models.language.stopping import stop_tokens
from harness.models.language.workload import LanguageModel, open_language_models
from harness.models.options import ModelOptions
from harness.native import Runner
from harness.protocol.schema import LanguageWorkload, Precision, Probe, Sample, WorkItem
from harness.protocol.tensors import encode
from harness.validate import Verdict, decodings
from tests.models.language_folder import save_folder
from tests.models.test_language_model import built, opened, order, quiet

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here")]


def stored(folder: Path, cache: Cache, precision: Precision = "fp32") -> LanguageModel:
    [model] = open_language_models([f"generate:{folder}"], ModelOptions(precision=precision), cache, quiet)
    return model


@pytest.fixture(scope="module")
def plain(user_cache: Cache) -> LanguageModel:
    """The model that no token stops."""
    return opened("tiny-llama", user_cache)


@pytest.fixture(scope="module")
def runner(plain: LanguageModel, user_cache: Cache) -> Runner:
    return built(plain, user_cache)


@pytest.fixture(scope="module")
def stops(plain: LanguageModel) -> tuple[int, int]:
    """Tokens that end two of the prompts in their midst: one's sixth token, and another's first after a while."""
    answers = list(plain.expected(quiet).answers.values())
    early = answers[0].token_ids[5]
    late = next(token for token in answers[1].token_ids[20:] if token not in answers[1].token_ids[:20])
    assert early != late
    return early, late


def theirs(folder: Path, prompt: list[int], tokens: int) -> list[int]:
    """What transformers generates from the folder as a user loads it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens)
    return found[0, len(prompt) :].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", ["config", "generation_config", "both", "null", "none", "absent", "outside"])
def test_a_folder_stops_where_transformers_stops(
    case: str, stops: tuple[int, int], user_cache: Cache, tmp_path: Path
) -> None:
    early, late = stops
    change: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    cases: dict[str, tuple[dict[str, Any] | None, Any]] = {
        "config": (None, early),
        "generation_config": ({"eos_token_id": [late, early]}, None),
        "both": ({"eos_token_id": late}, early),
        "null": ({"temperature": 1.0}, early),
        "none": (None, None),
        "absent": (None, None),
        "outside": ({"eos_token_id": [early, 1000]}, None),
    }
    generation, eos = cases[case]
    # transformers' class has a default of its own, which counts for nothing without the key.
    change = {} if case == "absent" else {**change, "eos_token_id": eos}
    folder = save_folder(tmp_path / "tiny-llama", generation=generation, **change)
    model = stored(folder, user_cache)
    answers = model.expected(quiet).answers
    for item, prompt in model.prompts.items():
        assert list(answers[item].token_ids) == theirs(folder, prompt, model.tokens), item
        stopped = len(answers[item].token_ids) < model.tokens
        assert answers[item].ended == ("stop_token" if stopped else "length")
    assert any(answer.ended == "stop_token" for answer in answers.values()) == bool(model.stops)


def stopping(runner: Runner, stops: tuple[int, ...]) -> dict[str, Any]:
    """The change of an order in which these tokens stop."""
    described = runner.archive.metadata.workload("tiny_llama", "language")
    assert isinstance(described, LanguageWorkload)
    return {"workloads": [described.model_copy(update={"stop_tokens": list(stops)})]}


@pytest.fixture
def model(stops: tuple[int, int], user_cache: Cache, tmp_path: Path) -> LanguageModel:
    """The same weights from a folder whose configuration stops; the runner's archive is that of the plain one."""
    found = stored(save_folder(tmp_path / "tiny-llama", generation={"eos_token_id": list(stops)}), user_cache)
    assert found.stops == tuple(sorted(stops))
    return found


def test_the_runner_stops_there_too(model: LanguageModel, runner: Runner, tmp_path: Path) -> None:
    """In the parity order; the timed passes give as many tokens as the model may, and are compared up to the stop."""
    answers = model.expected(quiet).answers
    asked = order(model, runner, items=model.compared_items(answers), repetitions=0)
    asked = asked.model_copy(update=stopping(runner, model.stops))
    records = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120).require_complete().records
    lines = model.compare(model.items, answers, records)
    assert [line.verdict for line in lines] == [Verdict.EQUAL] * 3, [line.describe() for line in lines]
    assert [line.ended for line in lines] == [line.expected_ended for line in lines]
    assert [line.ended for line in lines].count("stop_token") >= 2
    lengths = [len(decodings(records)[item.id][0].token_ids) for item in model.items]
    assert lengths[0] <= 6
    assert min(lengths) < model.tokens

    timed = order(model, runner, items=list(model.items), repetitions=1, probe=None)
    timed = timed.model_copy(update=stopping(runner, model.stops))
    records = HostDevice(lock_folder=tmp_path).run(runner.path, timed, deadline=120).require_complete().records
    samples = [record for record in records if isinstance(record, Sample)]
    assert [len(one.outputs[0].token_ids) for one in samples] == [model.tokens] * 3
    assert [one.outputs[0].ended for one in samples] == ["length"] * 3
    lines = model.compare(model.items, answers, (), records)
    assert [line.verdict for line in lines] == [Verdict.EQUAL] * 3
    assert [line.ended for line in lines] == [line.expected_ended for line in lines]


def test_a_runner_that_does_not_stop_has_another_answer(model: LanguageModel, runner: Runner, tmp_path: Path) -> None:
    answers = model.expected(quiet).answers
    asked = order(model, runner, items=model.compared_items(answers), repetitions=0)
    asked = asked.model_copy(update=stopping(runner, ()))
    records = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120).require_complete().records
    first = model.compare(model.items, answers, records)[0]
    assert first.verdict is Verdict.MISMATCH
    assert (first.ended, first.expected_ended) == ("length", "stop_token")


def test_tokens_that_are_fed_are_all_compared(model: LanguageModel, runner: Runner, tmp_path: Path) -> None:
    """A stop token among them ends nothing, nor does one that the model would choose."""
    answers = model.expected(quiet).answers
    forced = [model.stops[0], 1, model.stops[1], *answers["16_tokens"].token_ids[:6], 3]
    inputs = {"prompt": np.array(model.prompts["16_tokens"], np.int32), "forced": np.array(forced, np.int32)}
    item = WorkItem(id="fed", workload=model.name, input=encode(inputs))
    asked = order(model, runner, items=[item], repetitions=0).model_copy(update=stopping(runner, model.stops))
    records = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120).require_complete().records
    [output] = [record.outputs[0] for record in records if isinstance(record, Probe)]
    assert len(output.token_ids) == len(output.log_probabilities or ()) == len(forced)
    assert output.ended is None


@pytest.mark.parametrize("wrong", ["2", True, 1.5, [1, "2"], [[1]], {"id": 1}, list(range(65))])
def test_ids_that_are_none_are_refused(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(UnknownPart, match=r"eos_token_id in config\.json is"):
        stop_tokens(tmp_path, {"eos_token_id": wrong}, 256)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": wrong}), encoding="utf-8")
    with pytest.raises(UnknownPart, match=r"eos_token_id in generation_config\.json is"):
        stop_tokens(tmp_path, {}, 256)
    (tmp_path / "generation_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UnknownPart, match="cannot be read"):
        stop_tokens(tmp_path, {}, 256)


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_texts_in_and_texts_out(precision: Precision, user_cache: Cache, tmp_path: Path) -> None:
    """A folder with a tokenizer, compiled: its own stop tokens are in the archive, and the answers are texts."""
    from tests.models.test_language_texts import train

    folder = save_folder(tmp_path / "small", vocab_size=400, max_position_embeddings=1024)
    train(folder / "tokenizer.json")
    free = stored(folder, user_cache).expected(quiet).answers
    stop = next(iter(free.values())).token_ids[3]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stop}), encoding="utf-8")
    model = stored(folder, user_cache, precision)
    runner = built(model, user_cache, precision)
    described = runner.archive.metadata.workload(model.name, "language")
    assert isinstance(described, LanguageWorkload)
    assert described.stop_tokens == [stop]
    answers = model.expected(quiet).answers
    asked = order(model, runner, items=model.compared_items(answers), repetitions=0)
    records = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120).require_complete().records
    lines = model.compare(model.items, answers, records)
    assert not [line.describe() for line in lines if line.verdict.fails]
    assert lines[0].expected_ended == "stop_token"
    assert lines[0].expected == theirs_text(folder, model)
    assert lines[0].ended == ("stop_token" if precision == "fp32" else None)
    assert (lines[0].kl is None) == (precision == "fp32")


def theirs_text(folder: Path, model: LanguageModel) -> str:
    """What transformers answers to the first prompt, as text, with its own tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokens = theirs(folder, next(iter(model.prompts.values())), model.tokens)
    return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
