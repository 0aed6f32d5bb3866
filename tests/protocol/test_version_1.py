"""Version 1 of orders and records, which runners that baselines kept read and write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.protocol.schema import (
    GenerationWorkload,
    Load,
    Probe,
    Sample,
    TensorWorkload,
    WorkItem,
    WorkOrder,
    parse_record,
)

KEPT = Path(__file__).parents[1] / "results"
ORDERS = sorted([*KEPT.glob("version_1/*/orders/*.json"), *KEPT.glob("timed_apart/*/orders/*.json")])

G2P: dict[str, Any] = {
    "name": "g2p",
    "kind": "g2p",
    "prefixes": {"encoder": "g2p_encoder_", "decoder": "g2p_decoder_"},
    "use_kv_cache": False,
    "batch_size": 1,
    "max_input_bytes": 64,
    "max_output_len": 8,
    "vocab_size": 384,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
    "self_cache_shape": None,
    "self_cache_dtype": "float32",
    "precision": "int8",
    "prompt_space": True,
}
TENSORS: dict[str, Any] = {"size": 1, "sha256": "00", "data": "AA=="}
OLD: dict[str, Any] = {
    "schema_version": 1,
    "order_id": "o",
    "archive_sha256": "ab" * 32,
    "models": [G2P],
    "items": [{"id": "w0", "model": "g2p", "language": "eng-us", "word": "<a>: b"}],
    "tensor_models": [{"name": "m", "prefix": "m_", "inputs": ["x"], "outputs": ["y"]}],
    "tensor_items": [{"id": "i0", "model": "m", "inputs": TENSORS}],
    "warmup": 1,
    "repetitions": 2,
    "threads": 1,
    "probe": None,
    "skip_samples": 0,
    "skip_probes": 0,
}


def test_an_order_is_read_in_the_words_of_today_and_written_as_it_was() -> None:
    order = WorkOrder.model_validate_json(json.dumps(OLD))
    generation, tensor = order.workloads
    assert isinstance(generation, GenerationWorkload)
    assert isinstance(tensor, TensorWorkload)
    assert (generation.functions, generation.precision) == (G2P["prefixes"], "int8")
    assert (tensor.functions, tensor.inputs, tensor.outputs) == ({"main": "m_"}, ["x"], ["y"])
    word, call = order.items
    assert (word.workload, word.input, word.label, word.subset) == ("g2p", "<eng-us>: <a>: b", "<a>: b", "eng-us")
    assert (call.workload, call.input) == ("m", WorkItem.model_validate(call.model_dump()).input)
    assert json.loads(order.model_dump_json()) == OLD
    again = order.model_copy(update={"skip_samples": 1})
    assert json.loads(again.model_dump_json()) == OLD | {"skip_samples": 1}


@pytest.mark.parametrize("space", [True, False])
def test_prompts_without_a_space_come_back(space: bool) -> None:
    old = OLD | {"models": [G2P | {"prompt_space": space}]}
    assert json.loads(WorkOrder.model_validate(old).model_dump_json()) == old


@pytest.mark.parametrize("path", ORDERS, ids=lambda path: path.name)
def test_stored_orders_are_read_and_written_as_they_were(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(WorkOrder.model_validate(stored).model_dump_json()) == stored


def test_there_are_stored_orders() -> None:
    assert len(ORDERS) >= 3


def test_an_order_of_today_stays_one() -> None:
    order = WorkOrder.model_validate(OLD).model_copy(update={"schema_version": 2})
    written = json.loads(order.model_dump_json())
    assert (written["schema_version"], "models" in written, len(written["workloads"])) == (2, False, 2)
    assert WorkOrder.model_validate_json(order.model_dump_json()) == order


SAMPLE: dict[str, Any] = {
    "record": "sample",
    "model": "g2p",
    "items": ["w0"],
    "phase": "timed",
    "repetition": 0,
    "total_ns": 5000,
    "encoder_ns": 1000,
    "prefill_ns": 500,
    "step_ns": [700, 600],
    "outputs": [{"token_ids": [5, 1], "text": "x"}],
}


def test_a_sample_has_its_parts_by_name() -> None:
    record = parse_record(json.dumps(SAMPLE))
    assert isinstance(record, Sample)
    assert record.workload == "g2p"
    assert record.parts == {"encoder": [1000], "prefill": [500], "step": [700, 600]}
    cacheless = parse_record(json.dumps(SAMPLE | {"prefill_ns": None}))
    assert isinstance(cacheless, Sample)
    assert cacheless.parts == {"encoder": [1000], "step": [700, 600]}
    assert cacheless.part_ns("prefill") == 0


def test_a_sample_of_tensors_has_no_parts() -> None:
    line = SAMPLE | {"encoder_ns": 0, "prefill_ns": None, "step_ns": [], "outputs": [], "output_sha256": "ab"}
    record = parse_record(json.dumps(line))
    assert isinstance(record, Sample)
    assert (record.parts, record.outputs, record.output_sha256) == ({}, [], "ab")


def test_other_records_name_their_workload() -> None:
    load = parse_record('{"record": "load", "model": "m", "function": "main", "load_ns": 7}')
    probe = parse_record('{"record": "probe", "model": "m", "items": ["i0"], "outputs": []}')
    assert isinstance(load, Load)
    assert isinstance(probe, Probe)
    assert (load.workload, probe.workload) == ("m", "m")


@pytest.mark.parametrize(
    "changed",
    [
        {"encoder_ns": "1000"},
        {"encoder_ns": True},
        {"step_ns": [1.5]},
        {"total_ns": float("nan")},
        {"prefill_ns": {}},
        {"surprise": 1},
        {"outputs": None},
        {"phase": "later"},
    ],
)
def test_what_is_no_record_of_version_1_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_record(json.dumps(SAMPLE | changed))


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "7", '{"model": 1}', '{"record": "sample", "model": []}', "[" * 100_000]
)
def test_lines_that_are_none_are_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        parse_record(line)
