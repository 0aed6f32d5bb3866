"""Language models as workloads: how they are named and opened, how answers are judged, and what a run shows."""

from __future__ import annotations

import json
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.compiler.metadata import ArchiveMetadata
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.breaches import Breaches
from harness.explain.subject import Chosen, NothingToExplain
from harness.models.kinds import open_workloads
from harness.models.language import reference
from harness.models.language.config_keys import UnknownPart
from harness.models.language.reference import GeneratedItem
from harness.models.language.workload import Generated, LanguageModel, identifier, open_language_models
from harness.models.options import ModelOptions
from harness.models.ways import WAYS
from harness.protocol.schema import LanguageWorkload, Phase, Precision, Probe, RecordOptions, Sample, WorkOrder
from harness.protocol.tensors import decode
from harness.report.answers import answers_table
from harness.report.tensor import agreeing, rates_table
from harness.results.answers import generated_answers
from harness.results.schema import ParityLine, ParitySummary, WorkloadSummary
from harness.results.summarize import item_latencies, timed
from harness.results.token_rates import with_rates
from harness.validate import Decoded, Verdict
from tests.models.test_language_description import LLAMA


def quiet(_text: str) -> None:
    pass


def opened(cache: Cache, *names: str, **options: Any) -> list[Any]:
    return open_workloads(ModelOptions(models=names, **options), cache=cache, progress=quiet)


@pytest.fixture
def model(cache: Cache) -> LanguageModel:
    [found] = opened(cache, "random:tiny-llama")
    assert isinstance(found, LanguageModel)
    return found


def folder(path: Path, **change: Any) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**LLAMA, **change}))
    save_file({"model.norm.weight": np.ones(64, np.float32)}, path / "model.safetensors")
    return path


def test_prompts_are_seeded_and_fit(model: LanguageModel) -> None:
    assert [len(prompt) for prompt in model.prompts.values()] == [16, 64, 128]
    assert model.capacity == 192
    assert decode(model.items[0].input)["prompt"].tolist() == model.prompts["16_tokens"]  # type: ignore[arg-type]
    assert all(0 <= token < 256 for prompt in model.prompts.values() for token in prompt)
    assert model.prompts["16_tokens"][:4] == [217, 163, 130, 69]
    assert sorted(model.spread()) == [0, 1, 2]


def test_a_short_context_has_fewer_prompts(cache: Cache, tmp_path: Path) -> None:
    [short] = opened(cache, f"generate:{folder(tmp_path / 'short', max_position_embeddings=90)}")
    assert list(short.prompts) == ["16_tokens"]
    with pytest.raises(UnknownPart, match="takes 60 positions, too few"):
        opened(cache, f"generate:{folder(tmp_path / 'shorter', max_position_embeddings=60)}")


def test_a_folder_is_its_files(cache: Cache, tmp_path: Path) -> None:
    """The weights' hash is that of the configuration and the files, and the name is the folder's."""
    first, second = folder(tmp_path / "My Model-1"), folder(tmp_path / "other", rms_norm_eps=1e-3)
    one, other = opened(cache, f"generate:{first}", f"generate:{second}")
    assert (one.name, one.source) == ("my_model_1", f"generate:{first}")
    assert one.weights_sha256 != other.weights_sha256
    assert one.compilable("").request["source"] == {"folder": str(first)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("random:gpt-9", "no configuration is named 'gpt-9'"),
        ("generate:nowhere", r"nowhere has no \*\.safetensors"),
    ],
)
def test_a_name_of_nothing_is_refused(cache: Cache, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        opened(cache, name)


def test_an_unknown_part_of_a_folder_is_named(cache: Cache, tmp_path: Path) -> None:
    path = folder(tmp_path / "new", attn_logit_softcapping=30.0)
    with pytest.raises(UnknownPart, match=r"attn_logit_softcapping = 30\.0"):
        opened(cache, f"generate:{path}")


@pytest.mark.parametrize(("name", "found"), [("Qwen2.5-0.5B", "qwen2_5_0_5b"), ("3B", "model_3b"), ("..", "model_")])
def test_names_can_begin_symbols(name: str, found: str) -> None:
    assert identifier(name) == found


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("fp16", 0.02), ("int8", 0.25), ("int4", 1.5)])
def test_lossy_weights_have_wider_ties(cache: Cache, precision: Precision, tolerance: float) -> None:
    [found] = opened(cache, "random:tiny-llama", precision=precision)
    assert found.tolerance == tolerance
    assert found.compare_as == f"tokens, ties within {tolerance:g}"


def test_the_groups_of_int4_are_a_part_of_the_archives_identity(cache: Cache) -> None:
    found = {}
    for group in ("32", "64"):
        options = ModelOptions(precision="int4", own={"int4_group": group})
        [model] = open_language_models(["random:tiny-llama"], options, cache, quiet)
        compilable = model.compilable("")
        assert compilable.request["int4_group"] == int(group)
        assert "int4" in compilable.precisions
        found[group] = compilable.identity
    assert found["32"] != found["64"]
    with pytest.raises(UsageError, match="--int4-group is '48'"):
        open_language_models(["random:tiny-llama"], ModelOptions(own={"int4_group": "48"}), cache, quiet)


def sample(**change: Any) -> Sample:
    facts = {"workload": "tiny_llama", "items": ["16_tokens"], "phase": Phase.TIMED, "repetition": 0}
    times = {"total_ns": 10_000, "parts": {"prefill": [3_000], "step": [1_000, 500, 500]}, "prompt_tokens": 16}
    output = {"token_ids": [5, 6, 7], "text": ""}
    return Sample.model_validate({"record": "sample", **facts, **times, "outputs": [output], **change})


def probe(tokens: list[int], margins: list[float], workload: str = "tiny_llama") -> Probe:
    output = {"token_ids": tokens, "text": "", "margins": margins}
    found = {"record": "probe", "workload": workload, "items": ["16_tokens"], "outputs": [output]}
    return Probe.model_validate(found)


@pytest.mark.parametrize(
    ("tokens", "margins", "verdict", "step"),
    [
        ([5, 6, 7], [1.0, 1.0, 1.0], Verdict.EQUAL, None),
        ([5, 9, 7], [1.0, 1e-4, 1.0], Verdict.TIE, 1),
        ([5, 6, 9], [1.0, 1e-4, 1e-4], Verdict.MISMATCH, 2),
        ([5, 9, 7], [1.0, 1.0, 1.0], Verdict.MISMATCH, 1),
    ],
)
def test_tokens_are_judged_with_the_step_and_the_margins(
    model: LanguageModel, tokens: list[int], margins: list[float], verdict: Verdict, step: int | None
) -> None:
    answers = {"16_tokens": Decoded((5, 6, 7), "5 6 7", (1.0, 5e-4, 1.0))}
    [line] = model.compare(model.items[:1], answers, [probe(tokens, margins)])
    assert (line.verdict, line.step, line.got) == (verdict, step, " ".join(map(str, tokens)))


def test_a_prompt_that_did_not_run_is_missing(model: LanguageModel) -> None:
    answers = {"16_tokens": Decoded((5,), "5", (1.0,))}
    [line] = model.compare(model.items[:1], answers, [])
    assert line.verdict is Verdict.MISSING


def test_another_answer_of_pytorch_is_a_departure_unless_it_is_a_tie(model: LanguageModel) -> None:
    expected = Decoded((5, 6), "5 6", (1.0, 1e-4))
    assert model.departure(model.items[0], expected, {"token_ids": [5, 9]}) is None
    assert "another token at step 0" in str(model.departure(model.items[0], expected, {"token_ids": [9, 6]}))


def test_the_rates_are_of_the_first_token_and_of_those_behind_it() -> None:
    records = [sample(), sample(repetition=1), sample(phase=Phase.FIRST, total_ns=90_000)]
    rates = with_rates(item_latencies(timed(records)), records)["16_tokens"].tokens
    assert rates is not None
    assert (rates.prompt, rates.new, rates.first_token) == (16, 3, 4_000)
    assert (rates.prefill, rates.decode) == (4e6, 2e6)
    summary = WorkloadSummary(kind="language", by_item=with_rates(item_latencies(timed(records)), records))
    table = rates_table({"tiny_llama": summary}, emulated=False)
    assert table is not None
    assert table.rows == [["tiny_llama", "16_tokens", "16", "3", "4.00 µs", "4000000.0", "2000000.0"]]
    assert (
        rates_table({"words": WorkloadSummary(kind="tensor", by_item=item_latencies(timed(records)))}, emulated=False)
        is None
    )
    emulated = rates_table({"tiny_llama": summary}, emulated=True)
    assert emulated is not None
    assert emulated.header[4:] == [
        "time to first token (emulated)", "prefill, tokens/s (emulated)", "decode, tokens/s (emulated)",
    ]  # fmt: skip


def test_ties_are_named_where_answers_are_counted() -> None:
    """Tokens that differ within the lossy weights' margin are no plain agreement."""
    plain = ParitySummary(items=3, by_verdict={Verdict.EQUAL: 3}, by_subset={}, failures=[])
    tied = ParitySummary(items=3, by_verdict={Verdict.EQUAL: 1, Verdict.TIE: 2}, by_subset={}, failures=[])
    assert agreeing(WorkloadSummary(kind="language", parity={"parity": plain})) == "3 of 3"
    assert agreeing(WorkloadSummary(kind="language", parity={"parity": tied})) == "3 of 3, 2 of them as ties"


ANSWERED: dict[str, Any] = {
    "workload": "lm",
    "item": "a",
    "label": "Once upon",
    "verdict": "equal",
    "expected": "5 6",
    "got": "5 6",
}


def test_the_report_shows_the_answers_and_why_they_ended() -> None:
    lines = [
        ParityLine(**ANSWERED, ended="stop_token", expected_ended="stop_token"),
        ParityLine(**{**ANSWERED, "item": "b", "got": "5\n7", "verdict": "mismatch"}, ended="length",
                   expected_ended="stop_token"),
        ParityLine(**{**ANSWERED, "item": "c", "got": None, "verdict": "missing"}, expected_ended="length"),
        ParityLine(**{**ANSWERED, "item": "d", "got": "5 7", "verdict": "tie", "expected": "x" * 400}, tokens=2,
                   expected_ended="stop_token"),
        # The timed passes repeat them, and what says nothing of its end is no answer of a language model.
        ParityLine(**ANSWERED, ended="length", expected_ended="stop_token", passes="timed"),
        ParityLine(**{**ANSWERED, "item": "e"}),
    ]  # fmt: skip
    found = generated_answers(lines)
    assert list(found) == ["a", "b", "c", "d"]
    assert answers_table({"lm": WorkloadSummary(kind="language")}) is None
    table = answers_table({"lm": WorkloadSummary(kind="language", answers=found)})
    assert table is not None
    assert table.rows == [
        ["lm", "Once upon", "equal", "stop token", '"5 6"', "the same"],
        ["lm", "Once upon", "mismatch", "stop token, ours length", '"5 6"', '"5\\n7"'],
        ["lm", "Once upon", "missing", "length", '"5 6"', "–"],
        ["lm", "Once upon", "tie", "stop token", f'"{"x" * 300}…"', '"5 7"'],
    ]
    again = WorkloadSummary.model_validate_json(WorkloadSummary(kind="language", answers=found).model_dump_json())
    assert again.answers == found


def test_timed_answers_are_compared_up_to_the_first_stop_token(cache: Cache, tmp_path: Path) -> None:
    """Timed passes run on, so that both sides take as many steps; the parity order's answers end by themselves."""
    [model] = opened(
        cache, f"generate:{folder(tmp_path / 'stops', eos_token_id=[7, 500], max_position_embeddings=512)}"
    )
    assert model.stops == (7,)
    assert model.compilable("").metadata["stop_tokens"] == [7]
    item = model.items[0]
    assert decode(item.input)["exactly"].tolist() == [64]
    expected = Decoded((5, 7), "5 7", (1.0, 1.0), None, "stop_token")
    assert set(decode(model.compared_items({item.id: expected for item in model.items})[0].input)) == {"prompt"}
    ran_on = {"token_ids": [5, 7, 9], "text": "", "margins": [1.0] * 3, "ended": "length"}
    record = sample(workload=model.name, items=[item.id], outputs=[ran_on])
    [line] = model.compare([item], {item.id: expected}, (), [record])
    assert (line.verdict, line.ended, line.got) == (Verdict.EQUAL, "stop_token", "5 7")
    [line] = model.compare([item], {item.id: expected}, [probe([5, 7, 9], [1.0] * 3, model.name)])
    assert (line.verdict, line.step) == (Verdict.MISMATCH, 2)
    assert model.departure(item, expected, {"token_ids": [5, 7, 9, 9]}) is None
    assert "another token at step 1" in str(model.departure(item, expected, {"token_ids": [5, 8, 9, 9]}))


def test_a_lossy_model_is_fed_with_tokens_and_their_distributions(cache: Cache) -> None:
    [model] = opened(cache, "random:tiny-llama", precision="int8")
    known = GeneratedItem(
        token_ids=[5, 6], margins=[1.0, 1.0], log_probabilities=[-1.0, -1.0], top_tokens=[[5, 1], [6, 2]],
        top_logarithms=[[-0.5, -1.0, -2.0], [-0.5, -1.0, -1e4]],
    )  # fmt: skip
    answers = {item.id: Generated((5, 6), "5 6", (1.0, 1.0), (-1.0, -1.0), distributions=known) for item in model.items}
    given = decode(model.compared_items(answers)[0].input)
    assert (given["forced"].tolist(), given["top_tokens"].tolist()) == ([5, 6], [[5, 1], [6, 2]])
    assert given["top_tokens"].dtype == np.int32
    assert given["top_logarithms"].dtype == np.float32
    assert given["top_logarithms"].tolist() == [[-0.5, -1.0, -2.0], [-0.5, -1.0, -1e4]]


def test_a_single_token_has_no_decode_rate() -> None:
    records = [sample(parts={"step": [1_000]})]
    rates = with_rates(item_latencies(timed(records)), records)["16_tokens"].tokens
    assert rates is not None
    assert (rates.first_token, rates.decode) == (1_000, None)


def order(model: LanguageModel) -> WorkOrder:
    described = LanguageWorkload(
        name=model.name, functions={"prefill": "a_", "step": "b_"}, vocab_size=256, capacity=192, block=128,
        new_tokens=3, stop_tokens=[9], cache_shape=[2, 2, 64],
    )  # fmt: skip
    items = list(model.items[:1])
    return WorkOrder(
        order_id="o", archive_sha256="a", workloads=[described], items=items, warmup=0, probe=RecordOptions()
    )


HEADER = {
    "record": "header", "schema_version": 2, "order_id": "o", "runner_version": "0.1", "archive_sha256": "a",
    "os": "linux", "arch": "x", "cpu": {"model": "x", "cores": 1, "features": []}, "threads": 1, "pid": 1,
    "started_unix_ns": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"prompt_tokens": 193}, "a prompt of 193 tokens"),
        ({"prompt_tokens": 0}, "a prompt of 0 tokens"),
        ({"parts": {"encoder": [1]}}, "not a part of workload"),
        ({"parts": {"step": [1, 1, 1, 1]}}, "more steps than the 3 tokens"),
        ({"outputs": [{"token_ids": [256], "text": ""}]}, "outside the vocabulary of 256"),
        ({"outputs": [{"token_ids": [1] * 5, "text": ""}]}, "has 5 tokens, the model gives 3"),
        ({"outputs": []}, "0 outputs for 1 items"),
        ({"outputs": [{"token_ids": [1, 9], "text": "", "ended": "stop_token"}]}, None),
        ({"outputs": [{"token_ids": [9, 1], "text": "", "ended": "stop_token"}]}, "ended at a stop token"),
        ({"outputs": [{"token_ids": [], "text": "", "ended": "stop_token"}]}, "ended at a stop token"),
        ({"outputs": [{"token_ids": [9, 1], "text": "", "ended": "length"}]}, None),
        ({"outputs": [{"token_ids": [1], "text": "", "divergences": [0.5, 0.5]}]}, "2 divergences for 1 tokens"),
        ({"outputs": [{"token_ids": [1], "text": "", "divergences": [-0.5]}]}, "a divergence below zero"),
    ],
)
def test_a_record_of_a_runner_is_not_trusted(model: LanguageModel, change: dict[str, Any], reason: str | None) -> None:
    from harness.protocol.schema import Header

    breaches = Breaches(order(model))
    assert breaches.of(Header.model_validate(HEADER)) is None
    found = breaches.of(sample(**change))
    assert (found is None) if reason is None else (reason in str(found))


def test_an_archive_describes_the_model_for_orders(model: LanguageModel) -> None:
    facts = {"vocab_size": 256, "cache_shape": [2, 2, 64], "cache_dtype": "float16", "weights_bytes": 9}
    metadata = ArchiveMetadata.of(
        model.compilable(""), facts, archive="x.a", archive_sha256="0", target="llvm", precision="int8", max_threads=1,
        tvm_version="0", system_lib_target={},
    )  # fmt: skip
    again = ArchiveMetadata.model_validate_json(metadata.as_json())
    assert again.registrations == ["tiny_llama_prefill_", "tiny_llama_step_"]
    described = again.workload("tiny_llama", "language")
    assert isinstance(described, LanguageWorkload)
    assert (described.new_tokens, described.cache_dtype, described.block) == (64, "float16", 128)
    assert again.workload("tiny_llama", "tensor") is None
    assert WAYS["language"] is LanguageModel


def test_an_app_may_ask_for_a_longer_context(cache: Cache) -> None:
    """A cache has whole blocks, of which an app uses the positions that the model knows."""

    def compiled(context: int) -> dict[str, Any]:
        [found] = opened(cache, "random:tiny-llama", own={"context_tokens": context})
        assert isinstance(found, LanguageModel)
        return dict(found.compilable("").metadata)

    assert compiled(100)["capacity"] == 192, "what the prompts need"
    assert compiled(250)["capacity"] == 256
    assert "context" not in compiled(250)
    with pytest.raises(UsageError, match="tiny_llama takes 512 positions, and --context-tokens is 2000"):
        compiled(2000)


def test_a_context_within_a_block_is_the_models(cache: Cache, tmp_path: Path) -> None:
    source = f"generate:{folder(tmp_path / 'odd', max_position_embeddings=250)}"
    [found] = opened(cache, source, own={"context_tokens": 250})
    assert {key: found.compilable("").metadata[key] for key in ("capacity", "context")} == {
        "capacity": 256,
        "context": 250,
    }


def test_the_reference_is_made_once(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def worker(_module: str, request: dict[str, Any], _progress: Any, **_more: Any) -> dict[str, Any]:
        made.append(request)
        top = {"top_tokens": [[1, 5], [2, 6]], "top_logarithms": [[-1.0, -1.5, -0.9], [-2.0, -2.5, -0.3]]}
        items = [
            {"token_ids": [1, 2], "margins": [0.5, 0.25], "log_probabilities": [-1.0, -2.0], **top}
            for _ in request["prompts"]
        ]
        return {"items": items, "torch_version": "1", "transformers_version": "2"}

    monkeypatch.setattr(reference, "run_worker", worker)
    first, again = model.expected(quiet), model.expected(quiet)
    assert first == again
    answer = first.answers["64_tokens"]
    assert isinstance(answer, Generated)
    assert (answer.token_ids, answer.text, answer.ended) == ((1, 2), "1 2", "length")
    assert (answer.margins, answer.log_probabilities) == ((0.5, 0.25), (-1.0, -2.0))
    assert first.facts == {"torch_version": "1", "transformers_version": "2"}
    assert len(made) == 1
    assert (made[0]["tokens"], made[0]["stops"], made[0]["top"]) == (64, [], 128)
    assert model.stored(model.items[0], first.answers["16_tokens"])["text"] == "1 2"


def test_nothing_explains_its_items_yet(model: LanguageModel) -> None:
    chosen = Chosen(model.name, "16_tokens")
    with pytest.raises(NothingToExplain, match=r"tiny_llama is a language model.*16_tokens"):
        resolve_name(model.explained_by)(chosen, model, None)
