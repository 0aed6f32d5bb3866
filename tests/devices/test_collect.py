"""Results that no runner should write: every number strict, finite and in range, nothing that was not asked for."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.conformance.fake_runners import ARCHIVE, make_order, write_runner
from harness.core.errors import UsageError
from harness.devices import HostDevice
from harness.devices.breaches import MAX_NANOSECONDS, MAX_RECORDS
from harness.devices.collect import ResultReader
from harness.protocol.schema import RecordOptions, Sample, WorkOrder, parse_record

ORDER = make_order(("one", "two"), repetitions=2).model_copy(
    update={"probe": RecordOptions(margins=True, logit_steps=[0])}
)


def records(order: WorkOrder = ORDER) -> list[dict[str, Any]]:
    """A whole good result."""
    header = {
        "record": "header", "schema_version": 2, "order_id": order.order_id, "runner_version": "0.1",
        "archive_sha256": ARCHIVE, "os": "linux", "arch": "x", "cpu": {"model": "x", "cores": 1, "features": []},
        "threads": 1, "pid": 1, "started_unix_ns": 1,
    }  # fmt: skip
    found: list[dict[str, Any]] = [header]
    found += [
        {"record": "load", "workload": "g2p", "function": name, "load_ns": 1000}
        for name in order.workloads[0].functions
    ]
    found.append({"record": "thermal", "state": "nominal", "at_unix_ns": 1})
    for number in range(order.warmup + order.repetitions):
        for item in order.items:
            found.append(
                {"record": "sample", "workload": "g2p", "items": [item.id], "phase": "timed", "repetition": number,
                 "total_ns": 5000, "parts": {"encoder": [1000], "prefill": [500], "step": [700, 700]},
                 "outputs": [{"token_ids": [100, 1], "text": item.label}]}
            )  # fmt: skip
            found.append(
                {"record": "profile", "workload": "g2p", "items": [item.id], "phase": "timed", "repetition": number,
                 "numbers": [0, -1], "values": [1, 2]}
            )  # fmt: skip
    found.append({"record": "memory", "peak_bytes": 4096})
    found.append({"record": "machine", "bandwidth": {"4096": 1e9}, "flops": {"float32": 1e9}})
    found += [
        {"record": "probe", "workload": "g2p", "items": [item.id],
         "outputs": [{"token_ids": [100, 1], "text": "x", "margins": [2.5, 1], "logits": {"0": [0.5] * 384}}]}
        for item in order.items
    ]  # fmt: skip
    samples = sum(record["record"] == "sample" for record in found)
    found.append({"record": "end", "order_id": order.order_id, "status": "ok", "samples": samples})
    return found


def read(lines: list[str] | list[bytes], order: WorkOrder = ORDER) -> ResultReader:
    reader = ResultReader(None, order)
    for line in lines:
        reader.feed((line if isinstance(line, bytes) else line.encode()) + b"\n")
    return reader


def test_the_good_result_is_good() -> None:
    reader = read([json.dumps(record) for record in records()])
    assert reader.missing() is None


NUMBERS: dict[str, list[tuple[str | int, ...]]] = {
    "header": [("threads",), ("pid",), ("started_unix_ns",), ("cpu", "cores")],
    "load": [("load_ns",)],
    "thermal": [("at_unix_ns",)],
    "sample": [("repetition",), ("total_ns",), ("parts", "encoder", 0), ("parts", "prefill", 0), ("parts", "step", 0)],
    "profile": [("repetition",), ("numbers", 0), ("values", 0)],
    "memory": [("peak_bytes",)],
    "machine": [("bandwidth", "4096"), ("flops", "float32")],
    "probe": [("outputs", 0, "token_ids", 0), ("outputs", 0, "margins", 0), ("outputs", 0, "logits", "0", 0)],
    "end": [("samples",)],
}
PLACES = [(kind, place) for kind, places in NUMBERS.items() for place in places]
SIGNED = {("profile", ("numbers", 0)), ("profile", ("values", 0)), ("probe", ("outputs", 0, "margins", 0)),
          ("probe", ("outputs", 0, "logits", "0", 0))}  # fmt: skip


def replaced(kind: str, place: tuple[str | int, ...], text: str) -> list[str]:
    """The good result, with this text where the first record of that kind has a number."""
    found = records()
    at = next(at for at, record in enumerate(found) if record["record"] == kind)
    value: Any = found[at]
    for step in place[:-1]:
        value = value[step]
    value[place[-1]] = "@number@"
    return [json.dumps(record).replace('"@number@"', text) for record in found]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "true", '"10"', "[1]", "{}", "1e400"])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_what_is_no_number_is_refused_with_its_line(kind: str, place: tuple[str | int, ...], text: str) -> None:
    lines = replaced(kind, place, text)
    reader = read(lines)
    number = next(at for at, record in enumerate(records(), 1) if record["record"] == kind)
    assert reader.fault is not None
    assert reader.fault.startswith(f"line {number}")
    assert len(reader.records) == number - 1
    assert reader.missing() == reader.fault


@pytest.mark.parametrize("text", ["-1", "1" + "0" * 30, "-1" + "0" * 30])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_what_is_out_of_range_is_refused_with_its_line(kind: str, place: tuple[str | int, ...], text: str) -> None:
    if (kind, place) in SIGNED and (text == "-1" or kind == "probe"):
        return  # Marks are signed; the range of a margin and of a logit is float32's.
    reader = read(replaced(kind, place, text))
    number = next(at for at, record in enumerate(records(), 1) if record["record"] == kind)
    assert reader.fault is not None, text
    assert reader.fault.startswith(f"line {number}") or "the end record counts" in reader.fault


def test_numbers_have_bounds() -> None:
    assert read(replaced("sample", ("total_ns",), str(MAX_NANOSECONDS))).fault is None
    reader = read(replaced("sample", ("total_ns",), str(MAX_NANOSECONDS + 1)))
    assert "total_ns is 1e+15, out of the range" in str(reader.fault)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("memory", "more than 1 memory records"),
        ("machine", "more than 1 machine records"),
        ("load", "more loads than functions"),
        ("sample", "item 'w0' has 4 samples of 3"),
        ("probe", "item 'w0' has 2 probes of 1"),
        ("header", "a second header"),
    ],
)
def test_no_more_of_a_kind_than_the_order_asks_for(kind: str, words: str) -> None:
    found = records()
    again = next(record for record in found if record["record"] == kind)
    reader = read([json.dumps(record) for record in [*found[:-1], again]])
    assert words in str(reader.fault)


def test_profiles_need_samples_and_probes_an_order() -> None:
    found = records()
    profile = next(record for record in found if record["record"] == "profile")
    assert "a profile without a sample" in str(read([json.dumps(record) for record in (found[0], profile)]).fault)
    plain = ORDER.model_copy(update={"probe": None})
    assert "a probe that was not asked for" in str(read([json.dumps(r) for r in records()], plain).fault)
    without = ORDER.model_copy(update={"probe": RecordOptions(margins=True)})
    assert "logits of a step that was not asked for" in str(read([json.dumps(r) for r in records()], without).fault)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("token_ids", [1] * 1000, "has 1000 tokens"),
        ("margins", [1.0] * 3, "3 margins for 2 tokens"),
        ("log_probabilities", [-1.0], "1 probabilities for 2 tokens"),
        ("log_probabilities", [-1.0, 0.5], "a probability above one"),
        ("logits", {"0": [1.0]}, "logits for another vocabulary"),
    ],
)
def test_no_longer_lists_than_the_model_gives(name: str, value: object, words: str) -> None:
    found = records()
    next(record for record in found if record["record"] == "probe")["outputs"][0][name] = value
    assert words in str(read([json.dumps(record) for record in found]).fault)


@settings(max_examples=300)
@given(st.binary(max_size=400), st.integers(1, 20))
def test_no_bytes_break_the_reader(data: bytes, piece: int) -> None:
    reader = ResultReader(None, ORDER)
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece])
    assert reader.missing()
    assert reader.records == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_result_changed_anywhere_is_read_or_refused_and_never_breaks(data: st.DataObject) -> None:
    found = records()
    at = data.draw(st.integers(0, len(found) - 1))
    key = data.draw(st.sampled_from(sorted(found[at])))
    found[at][key] = data.draw(JSON)
    raw = "".join(json.dumps(record) + "\n" for record in found).encode()
    reader, whole = ResultReader(None, ORDER), ResultReader(None, ORDER)
    whole.feed(raw)
    cut = data.draw(st.integers(0, len(raw)))
    reader.feed(raw[:cut])
    reader.feed(raw[cut:])
    # In however many pieces it comes, the same is made of it; what is kept can be stored and read again.
    assert (reader.fault, reader.missing()) == (whole.fault, whole.missing())
    assert [record.model_dump_json() for record in reader.records] == [r.model_dump_json() for r in whole.records]
    for record in reader.records:
        assert parse_record(record.model_dump_json()) == record


def test_a_line_in_many_pieces_is_put_together_once() -> None:
    line = json.dumps(records()[0]).encode()
    padded = line[:-1] + b" " * 2**20 + line[-1:] + b"\n"
    reader = ResultReader(None, ORDER)
    tracemalloc.start()
    for at in range(0, len(padded), 1024):
        reader.feed(padded[at : at + 1024])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(reader.records) == 1
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    "change",
    ["margins=[float('nan')]", "margins=[float('inf')]", "margins=[True]", "margins=['10']"],
)
def test_a_run_with_such_a_record_ends_incomplete_and_keeps_what_came_before(tmp_path: Path, change: str) -> None:
    body = f"""
header(); load(); passes()
put(record="probe", workload="g2p", items=["w0"], outputs=[dict(output(order["items"][0]), {change})])
probe(); end()
"""
    device = HostDevice(lock_folder=tmp_path / "locks")
    result = device.run(write_runner(tmp_path, body), make_order(), tmp_path / "work")
    assert not result.complete
    assert result.reason is not None
    assert "line 11 is not a record: probe.outputs.0.margins.0" in result.reason
    assert sum(isinstance(record, Sample) for record in result.records) == 6


def test_an_order_that_asks_for_too_much_is_refused_before_it_is_run(tmp_path: Path) -> None:
    device = HostDevice(lock_folder=tmp_path / "locks")
    runner = write_runner(tmp_path, "raise SystemExit('it was started')")
    order = make_order(repetitions=MAX_RECORDS)
    with pytest.raises(UsageError, match="a result holds 500000 at most"):
        device.run(runner, order, tmp_path / "work")


def test_a_result_ends_where_its_bound_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.breaches.MAX_RECORDS", 12)
    reader = read([json.dumps(record) for record in records()])
    assert reader.fault == "line 13: more than 12 records"
    assert len(reader.records) == 12


def test_an_item_stands_once_in_a_batch() -> None:
    found = records()
    sample = next(record for record in found if record["record"] == "sample")
    sample["items"], sample["outputs"] = sample["items"] * 2, sample["outputs"] * 2
    assert "an item stands twice in ['w0', 'w0']" in str(read([json.dumps(record) for record in found]).fault)
