"""Bytes and multiply-adds of a model small enough to count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.counting import (
    STORAGE,
    Bound,
    Cost,
    Dimensions,
    bound,
    encoder_cost,
    prefill_cost,
    read_dimensions,
    step_cost,
    word_cost,
)
from harness.core.errors import UsageError
from harness.models.g2p.checkpoints import EMBEDDED_FOLDER
from harness.profiling.roofline import bandwidth_at

TINY = Dimensions(d_model=2, inner=4, d_ff=3, encoder_layers=1, decoder_layers=1, vocabulary=5)
FP32, FP16, INT8 = STORAGE["fp32"], STORAGE["fp16"], STORAGE["int8"]


def test_encoder() -> None:
    # Weights: q, k, v, o 4 x 8, feed-forward 3 x 6: 50. Three rows: embeddings 3 x 2 floats, scores and contexts
    # of 3 x 3 pairs times 4 numbers each.
    assert encoder_cost(TINY, FP32, 3) == Cost(bytes=50 * 4 + 24, macs=150 + 72)
    assert encoder_cost(TINY, FP16, 3) == Cost(bytes=50 * 2 + 24, macs=150 + 72)


def test_prefill() -> None:
    # Keys and values: 2 x 8 weights; 3 rows of 8 floats are written.
    assert prefill_cost(TINY, FP32, 3) == Cost(bytes=16 * 4 + 96, macs=48)


def test_step() -> None:
    # Weights: own attention 32, cross query and output 16, feed-forward 18, vocabulary 10: 76. One embedding of 8
    # bytes; keys and values of one own and three encoder positions: 2 x 4 x 4 floats.
    assert step_cost(TINY, FP32, tokens=3, position=0) == Cost(bytes=76 * 4 + 8 + 128, macs=76 + 32)
    assert step_cost(TINY, FP32, tokens=3, position=1) == Cost(bytes=76 * 4 + 8 + 160, macs=76 + 40)
    # Output columns with a scale: 12 + 2, 4 + 2, 3 + 3 + 2, 5.
    assert step_cost(TINY, INT8, tokens=3, position=0) == Cost(bytes=76 + 33 * 4 + 8 + 128, macs=76 + 32)


def test_a_word_is_its_encoder_prefill_and_steps() -> None:
    cost = word_cost(TINY, FP32, input_tokens=3, output_tokens=2)
    assert cost.steps == Cost(bytes=440 + 472, macs=108 + 116)
    assert cost.total == Cost(bytes=224 + 160 + 912, macs=222 + 48 + 224)


def test_dimensions_are_read_from_a_checkpoint(tmp_path: Path) -> None:
    assert read_dimensions(EMBEDDED_FOLDER) == Dimensions(256, 256, 512, 4, 2, 384)
    (tmp_path / "config.json").write_text(json.dumps({"feed_forward_proj": "relu"}))
    with pytest.raises(UsageError, match="gated"):
        read_dimensions(tmp_path)


def test_bounds_are_times_of_reading_and_of_computing() -> None:
    found = bound(Cost(bytes=20, macs=30), bytes_per_second=10e9, macs_per_second=5e9)
    assert found == Bound(memory_ns=2, arithmetic_ns=6)
    assert found.total_ns == 8


@pytest.mark.parametrize(("size", "expected"), [(1, 80), (10, 80), (15, 60), (20, 40), (30, 30), (40, 20), (99, 20)])
def test_bandwidth_between_measured_working_sets(size: float, expected: float) -> None:
    assert bandwidth_at({20: 40.0, 10: 80.0, 40: 20.0}, size) == expected


def test_bandwidth_of_nothing_measured() -> None:
    with pytest.raises(ValueError, match="no bandwidth"):
        bandwidth_at({}, 1)
