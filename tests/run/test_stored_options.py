"""A run keeps the options of kinds of workloads beside all others, and takes them from what older harnesses stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.models.g2p.options import G2POptions
from harness.models.kinds import model_options, without_choice_of_items
from harness.run.builder import RunOptions, stored_form, stored_options

OWN = {"checkpoint": "random:tiny-8", "words": Path("some/words.tsv"), "lang": "fra", "max_output_len": 16}


def test_what_was_stored_is_read_again() -> None:
    options = RunOptions(models=("g2p",), keep_wide=("a.*",), item_sample=3, own=OWN)
    stored = json.loads(json.dumps(stored_form(options)))
    assert "own" not in stored
    assert (stored["words"], stored["lang"], stored["batch_size"]) == ("some/words.tsv", "fra", 1)
    read = stored_options(stored)
    assert G2POptions.of(read) == G2POptions.of(options)
    assert (read.models, read.keep_wide, read.item_sample) == (("g2p",), ("a.*",), 3)


def test_options_have_the_names_of_older_harnesses_too() -> None:
    older = {"language": "deu", "prefix": "mine_", "word_sample": 26, "words": None, "max_input_bytes": 24}
    read = stored_options({**older, "removed_long_ago": 1})
    own = G2POptions.of(read)
    assert (own.language, own.prefix, own.words, own.max_input_bytes) == ("deu", "mine_", None, 24)
    assert read.item_sample == 26


def test_a_choice_of_items_can_be_taken_away() -> None:
    found = without_choice_of_items(RunOptions(item_sample=3, own=OWN))
    assert (found.item_sample, found.own) == (None, {"checkpoint": "random:tiny-8", "max_output_len": 16})


def test_no_option_of_a_kind_is_a_field_of_every_run() -> None:
    assert not {*RunOptions.__dataclass_fields__} & {*model_options()}


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"batch_size": True}, "--batch-size is True"),
        ({"batch_size": "2"}, "--batch-size is '2'"),
        ({"prompt_space": 1}, "--prompt-space is 1"),
        ({"words": 5}, "--words is 5"),
        ({"checkpoint": ["a"]}, r"--checkpoint is \['a'\]"),
    ],
)
def test_a_value_of_another_type_is_refused(own: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        G2POptions.of(RunOptions(own=own))
