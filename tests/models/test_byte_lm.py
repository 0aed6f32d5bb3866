"""The shipped byte-level model: that it is trained, and how near its compiled precisions are to PyTorch's float32."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.core.cache import Cache, hash_file
from harness.devices import HostDevice
from harness.models.language.shipped import FOLDERS, HELD_OUT
from harness.models.language.workload import LanguageModel, open_language_models
from harness.models.options import ModelOptions
from harness.protocol.schema import Precision
from harness.results.schema.lines import ParityLine
from harness.results.summarize import parity_summary
from tests.models.test_language_model import built, order, quiet

pytestmark = pytest.mark.compiler
FOLDER = FOLDERS["byte-lm"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of the shipped text, from all of it."""
    whole = HELD_OUT.read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("text") / "short.txt"
    path.write_text("".join(whole[at : at + 600] for at in range(0, len(whole) - 600, len(whole) // 8)), "utf-8")
    return path


def opened(cache: Cache, precision: Precision, text: Path) -> LanguageModel:
    # Of thousands of steps one may have a wider margin than the few after a prompt.
    tolerance = 3.0 if precision == "int4" else 1e-3
    options = ModelOptions(precision=precision, tolerance=tolerance, own={"passages": str(text)})
    [model] = open_language_models(["byte-lm"], options, cache, quiet)
    return model


@pytest.mark.usefixtures("work_is_here")
@pytest.mark.thorough(keep=["int4-*"])
@pytest.mark.parametrize(
    ("precision", "perplexity", "share", "kl"),
    [("fp32", 1e-5, 1.0, 1e-6), ("fp16", 5e-4, 0.99, 1e-4), ("int8", 0.004, 0.97, 2e-3), ("int4", 0.025, 0.92, 0.03)],
)
def test_a_precision_is_near_pytorch_on_text_that_was_held_out(
    user_cache: Cache, tmp_path: Path, text: Path, precision: Precision, perplexity: float, share: float, kl: float
) -> None:
    model = opened(user_cache, precision, text)
    runner = built(model, user_cache, precision)
    answers = model.expected(quiet).answers
    asked = order(model, runner, items=model.compared_items(answers), repetitions=0)
    records = HostDevice(lock_folder=tmp_path).run(runner.path, asked, deadline=120).require_complete().records
    lines = model.compare(model.items, answers, records)
    assert not [line.describe() for line in lines if line.verdict.fails]
    found = parity_summary([ParityLine(**line.model_dump()) for line in lines])
    assert found.tokens is not None
    assert found.tokens > 4000
    assert found.expected_perplexity is not None
    assert found.perplexity is not None
    assert found.tokens_equal is not None
    assert found.kl is not None
    assert math.log2(found.expected_perplexity) < 2.2, "bits a byte of a model that is trained"
    assert found.perplexity == pytest.approx(found.expected_perplexity, rel=perplexity)
    assert share * found.tokens <= found.tokens_equal <= found.tokens
    assert found.kl < kl


def test_the_card_names_these_weights() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    weights = FOLDER / "model.safetensors"
    assert hash_file(weights) in card
    assert weights.stat().st_size <= 12_000_000
    config = json.loads((FOLDER / "config.json").read_bytes())
    assert config["vocab_size"] == 256
