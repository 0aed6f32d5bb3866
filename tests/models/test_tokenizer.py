"""ByT5's tokenization against transformers' own, on any text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from harness.models.g2p.items import encode_prompt
from harness.models.tokenizer import EOS_ID, VOCABULARY_SIZE, decode, encode

pytestmark = pytest.mark.programs

VECTORS = Path(__file__).parent.parent / "vectors/byt5.json"
TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
TRUTH = ByT5Tokenizer()


@given(TEXT)
def test_encoding_equals_transformers(text: str) -> None:
    # transformers looks for its special tokens' names in the text; ours has bytes only.
    if any(name in text for name in ("<pad>", "</s>", "<unk>", "<extra_id")):
        return
    assert encode(text) == TRUTH(text, add_special_tokens=False)["input_ids"]


@given(TEXT)
def test_decoding_gives_the_text_back(text: str) -> None:
    assert decode(encode(text)) == text
    assert decode([*encode(text), EOS_ID, 99]) == text


@given(st.lists(st.integers(0, VOCABULARY_SIZE - 1)))
def test_decoding_equals_transformers_on_any_ids(ids: list[int]) -> None:
    if EOS_ID in ids:
        ids = ids[: ids.index(EOS_ID)]
    ours = decode(ids)
    theirs = TRUTH.decode([i for i in ids if 3 <= i < 259], clean_up_tokenization_spaces=False)
    assert ours == theirs


def test_prompts_have_charsius_form() -> None:
    assert decode(encode_prompt("eng-us", "Char")) == "<eng-us>: Char"
    assert decode(encode_prompt("eng-us", "Char", space=False)) == "<eng-us>:Char"


def test_the_vectors_that_rust_reads_are_transformers_own() -> None:
    vectors = json.loads(VECTORS.read_text())
    assert len(vectors) >= 10
    for vector in vectors:
        assert vector["ids"] == TRUTH(vector["text"], add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", ["", "a", "ʃ", "क्षि", "😀"])
def test_every_byte_is_one_token(text: str) -> None:
    assert len(encode(text)) == len(text.encode())
