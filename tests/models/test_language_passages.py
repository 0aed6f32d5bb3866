"""Passages of a text: how they are cut, what an order carries, and how answers are judged."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import processors

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.models.kinds import open_workloads
from harness.models.language.description import Decoder
from harness.models.language.families import describe
from harness.models.language.passages import CONTEXT, MOST, read_passages, text_passages
from harness.models.language.shipped import FOLDERS, HELD_OUT
from harness.models.language.texts import Codec
from harness.models.language.workload import LanguageModel
from harness.models.options import ModelOptions
from harness.protocol.schema import Probe
from harness.protocol.tensors import decode
from harness.validate import Decoded, Verdict
from tests.models.test_language_description import LLAMA
from tests.models.test_language_texts import train

FOLDER = FOLDERS["byte-lm"]
TOKENS = 64


def quiet(_text: str) -> None:
    pass


def opened(cache: Cache, **own: Any) -> LanguageModel:
    [found] = open_workloads(ModelOptions(models=("byte-lm",), own=own), cache=cache, progress=quiet)
    assert isinstance(found, LanguageModel)
    return found


@pytest.fixture
def codec() -> Codec:
    return Codec(FOLDER / "tokenizer.json", 256)


@pytest.fixture
def decoder() -> Decoder:
    return describe({**LLAMA, "vocab_size": 256, "max_position_embeddings": 512})


@pytest.mark.parametrize("text", ["plain", "Grüße, 你好, 🐦!", "\x00\x1b[31m\t two  spaces\n", "</s>", ""])
def test_the_shipped_tokenizers_tokens_are_the_bytes(codec: Codec, text: str) -> None:
    assert codec.encode(text) == list(text.encode())
    assert codec.decode(codec.encode(text)) == text


def test_every_byte_is_a_token_and_half_a_character_is_none(codec: Codec) -> None:
    assert codec.decode(list("é".encode())[:1]) == "\N{REPLACEMENT CHARACTER}"
    assert "".join(codec.decode([byte]) for byte in range(128)) == bytes(range(128)).decode()


def test_the_shipped_text_is_small_and_in_the_public_domains_english() -> None:
    text, source = read_passages("shipped")
    assert source == "shipped"
    assert 30_000 < len(text.encode()) <= 100_000
    assert HELD_OUT.read_text(encoding="utf-8") == text
    assert "Gutenberg" not in text


def test_predicted_parts_follow_each_other(codec: Codec, decoder: Decoder) -> None:
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=700))
    found = text_passages(codec, decoder, TOKENS, text, "mine.txt")
    assert list(found.tokens) == [f"passage_{number}" for number in range(1, 8)]
    assert codec.decode([one for part in found.following.values() for one in part]) == text[CONTEXT : CONTEXT + 7 * 64]
    for item, prompt in found.tokens.items():
        at = text.index(codec.decode(prompt + found.following[item]))
        assert at == 64 * (int(item.removeprefix("passage_")) - 1)
    assert (found.source, found.labels["passage_3"]) == ("mine.txt", "passage 3")
    assert found.room >= CONTEXT


def test_a_long_text_has_passages_from_all_of_it(codec: Codec, decoder: Decoder) -> None:
    found = text_passages(codec, decoder, 8, "abcdefgh" * 3000, "long.txt")
    assert len(found.tokens) == MOST
    assert list(found.tokens)[-1] == "passage_2974"


def test_a_texts_first_token_is_before_each_passage(tmp_path: Path, decoder: Decoder) -> None:
    """As models that were trained with it expect, and what a tokenizer puts behind a text is nowhere."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(train(tmp_path / "tokenizer.json")))
    put = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.post_processor = put
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    codec, text = Codec(tmp_path / "tokenizer.json", 400), "The swifts sleep while they fly, and we saw them. " * 40
    body = codec.encode(text)[1:-1]
    found = text_passages(codec, decoder, TOKENS, text, "mine.txt")
    prompts, following = list(found.tokens.values()), list(found.following.values())
    assert {(prompt[0], len(prompt)) for prompt in prompts} == {(0, CONTEXT)}
    assert prompts[1][1:] + following[1] == body[TOKENS : TOKENS + CONTEXT - 1 + TOKENS]
    assert not {0, 1} & {token for part in following for token in part}


def test_texts_and_models_without_a_passage_are_refused(
    cache: Cache, codec: Codec, decoder: Decoder, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"mine\.txt has 255 tokens, and a passage has 256"):
        text_passages(codec, decoder, TOKENS, "x" * 255, "mine.txt")
    with pytest.raises(UsageError, match="takes 512 positions, too few"):
        text_passages(codec, decoder, 512, "x" * 2000, "mine.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        read_passages(str(tmp_path / "nowhere.txt"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff" * 300)
    with pytest.raises(UsageError, match="is no text in UTF-8"):
        read_passages(str(tmp_path / "bytes.txt"))
    with pytest.raises(UsageError, match="both choose the items"):
        opened(cache, passages="shipped", prompts=str(tmp_path / "bytes.txt"))
    with pytest.raises(UsageError, match=r"has no tokenizer\.json, so shipped cannot become tokens"):
        open_workloads(
            ModelOptions(models=("random:tiny-llama",), own={"passages": "shipped"}), cache=cache, progress=quiet
        )


def test_the_shipped_model_with_prompts_and_with_passages(cache: Cache) -> None:
    """Both are compiled for as many positions, so that one archive runs both."""
    prompts, passages = opened(cache), opened(cache, passages="shipped")
    assert (prompts.name, prompts.source, prompts.items_source) == ("byte_lm", "byte-lm", "shipped")
    assert len(prompts.prompts) == 3
    assert (prompts.capacity, passages.capacity, prompts.forced, prompts.stops) == (640, 640, False, ())
    assert prompts.compilable("").identity == passages.compilable("").identity
    assert prompts.compilable("").request == passages.compilable("").request
    assert prompts.items_sha256 != passages.items_sha256
    assert passages.forced
    assert len(passages.items) > 400
    text = HELD_OUT.read_bytes()
    for item in (passages.items[0], passages.items[400]):
        sent = {name: np.asarray(one).tolist() for name, one in decode(item.input).items()}  # type: ignore[arg-type]
        at = 64 * (int(item.id.removeprefix("passage_")) - 1)
        assert bytes(sent["prompt"]) == text[at : at + 192]
        assert bytes(sent["forced"]) == text[at + 192 : at + 256]


def test_answers_to_passages_are_compared_at_every_step(cache: Cache) -> None:
    """In float32, too: a choice that differs is a tie only if both margins are small, and later steps count."""
    model = opened(cache, passages="shipped")
    item = model.items[0]
    expected = Decoded((65,) * 64, "A" * 64, (0.0005, *(1.0,) * 63), (-1.0,) * 64)
    for at, verdict in ((0, Verdict.TIE), (40, Verdict.MISMATCH)):
        tokens = [66 if step == at else 65 for step in range(64)]
        output: dict[str, Any] = {
            "token_ids": tokens,
            "text": "",
            "margins": [0.0005, *(1.0,) * 63],
            "log_probabilities": [-2.0] * 64,
            "divergences": [0.25] * 64,
        }
        record = {"record": "probe", "workload": model.name, "items": [item.id], "outputs": [output]}
        records = [Probe.model_validate(record)]
        for lines in (
            model.compare([item], {item.id: expected}, records),
            model.compare([item], {item.id: expected}, (), records),
        ):
            [line] = lines
            assert (line.verdict, line.step, line.tokens, line.tokens_equal) == (verdict, at, 64, 63)
            assert (line.log_probability, line.expected_log_probability, line.kl) == (-2.0, -1.0, 0.25)
    assert model.departure(item, expected, {"token_ids": [1, 2, 3]}) is None
