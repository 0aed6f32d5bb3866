"""The lexicons' split, and training: a few real steps, interrupted and resumed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from harness.core.cache import Cache
from harness.models.g2p import training
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.lexicon import HELD_OUT_PER_LANGUAGE, Split, load_split
from harness.models.g2p.loading import load_checkpoint
from harness.models.g2p.training import Recipe, batches_from, epoch_batches, example, rate, train
from harness.models.g2p.word_list import HELD_OUT_WORDS, read_words

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def swedish() -> Split:
    return load_split("swe")


def test_the_split_is_disjoint_and_fixed(swedish: Split) -> None:
    train_words = {entry.word for entry in swedish.train}
    held_out = {entry.word for entry in swedish.held_out}
    assert not train_words & held_out
    assert len(held_out) == HELD_OUT_PER_LANGUAGE
    # The split follows from the spelling alone.
    ranks = [hashlib.sha256(f"swe\t{entry.word}".encode()).digest() for entry in swedish.held_out]
    assert ranks == sorted(ranks)
    last = ranks[-1]
    assert all(hashlib.sha256(f"swe\t{word}".encode()).digest() > last for word in train_words)


def test_the_shipped_words_are_the_held_out_ones(swedish: Split) -> None:
    shipped = read_words(HELD_OUT_WORDS, "swe")
    assert [w.word for w in shipped] == [e.word for e in swedish.held_out[: len(shipped)]]
    assert [w.pronunciations for w in shipped] == [e.pronunciations for e in swedish.held_out[: len(shipped)]]


RECIPE = Recipe(
    steps=6,
    seed=3,
    batch_tokens=400,
    learning_rate=1e-3,
    d_model=32,
    d_ff=32,
    num_heads=2,
    d_kv=16,
    num_layers=1,
    num_decoder_layers=1,
    warmup=2,
)


def test_batches_have_one_source_length_and_go_on_where_they_stopped(
    swedish: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "WORDS_PER_EPOCH", {"swe": 300})
    pool = {"swe": [example(entry) for entry in swedish.train[:200]]}
    batches = epoch_batches(pool, RECIPE, epoch=0)
    assert sum(len(batch) for batch in batches) == 300
    assert all(len({len(item.source) for item in batch}) == 1 for batch in batches)
    stream = batches_from(pool, RECIPE, 0)
    whole = [next(stream) for _ in range(len(batches) + 5)]
    resumed = batches_from(pool, RECIPE, len(batches) + 2)
    assert [next(resumed) for _ in range(3)] == whole[len(batches) + 2 :]


def test_the_learning_rate_rises_holds_and_falls_to_zero() -> None:
    recipe = Recipe(1000, 1, 1, 1.0, 1, 1, 1, 1, 1, 1, warmup=100, decay_fraction=0.5)
    assert rate(0, recipe) == pytest.approx(0.01)
    assert rate(300, recipe) == 1.0
    assert rate(750, recipe) == pytest.approx(0.5)
    assert rate(1000, recipe) == 0.0


def test_an_interrupted_training_resumes_to_the_same_model(
    swedish: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> None:
    monkeypatch.setattr(training, "GRUUT_LANGUAGES", {"swe": "sv"})
    monkeypatch.setattr(training, "WORDS_PER_EPOCH", {"swe": 500})
    monkeypatch.setattr(training, "load_split", lambda _language: swedish)
    threads = torch.get_num_threads()
    try:
        train(RECIPE, tmp_path / "whole", threads=1, compiled=False)
        train(RECIPE, tmp_path / "parts", threads=1, compiled=False, stop_at=3)
        assert not (tmp_path / "parts/model.safetensors").exists()
        train(RECIPE, tmp_path / "parts", threads=1, compiled=False, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert json.loads((tmp_path / "parts/recipe.json").read_text())["step"] == 6
    models = [load_checkpoint(resolve_checkpoint(str(tmp_path / n), cache=cache).folder) for n in ("whole", "parts")]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    fresh = training.new_model(RECIPE)
    assert not torch.allclose(fresh.shared.weight, models[0].shared.weight, atol=1e-3)
