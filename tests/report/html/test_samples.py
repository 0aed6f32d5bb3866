"""The fast reader against the store's own, raw data there and back, and pictures that leave no sample out."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import numpy as np
import pytest

from harness.protocol.schema import Sample
from harness.report.html.blobs import Column, grain, raw_samples
from harness.report.html.figure import log_ticks
from harness.report.html.latency import SINGLE_POINTS, STRETCHES, Series, distributions, in_order
from harness.report.html.samples import PHASES, TIMED, Parts, Samples, read_samples
from harness.report.html.views import view
from harness.results import Run, RunDamaged
from harness.results.summarize import timed_samples
from tests.results.samples import make_run


def made_up(count: int, items: int = 7, *, parts: bool = True) -> Samples:
    """Samples with noise and, at two places, one far out on either side."""
    rng = np.random.default_rng(5)
    total = (rng.normal(1, 0.05, count) * 2_000_000).astype(np.int64)
    total[count // 3], total[count // 2] = 90_000_000, 100_000
    return Samples(
        workload="g2p",
        variant="cache",
        items=[f"w{at}" for at in range(items)],
        item=(np.arange(count) % items).astype(np.int32),
        phase=np.full(count, TIMED, dtype=np.int8),
        repetition=(np.arange(count) // items).astype(np.int32),
        total=total,
        parts=Parts(encoder=total // 2, prefill=total // 8, steps=total // 4) if parts else None,
    )


def unpacked(column: Column, rows: int) -> list[int]:
    planes = np.frombuffer(gzip.decompress(base64.b64decode(column.data)), dtype=np.uint8).reshape(4, rows)
    values = np.ascontiguousarray(planes.T).view("<u4").ravel().astype(np.int64) * column.factor
    return [int(value) for value in values]


def test_what_the_store_reads(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (samples,) = read_samples(run, run.manifest())
    records = [line.record for line in run.samples() if isinstance(line.record, Sample)]
    assert samples.total.tolist() == [record.total_ns for record in records]
    assert samples.parts is not None
    assert samples.parts.steps.tolist() == [record.part_ns("step") for record in records]
    (lean,) = read_samples(run, run.manifest(), parts=False)
    assert lean.parts is None
    assert lean.total.tolist() == samples.total.tolist()
    assert [PHASES[at] for at in samples.phase] == [record.phase for record in records]
    assert [samples.items[at] for at in samples.item] == [record.items[0] for record in records]
    by_item = timed_samples(run.manifest(), run.samples(), "g2p")
    medians = dict(zip(samples.items, samples.item_medians(), strict=True))
    assert medians == {item: float(np.median(taken)) for item, taken in by_item.items()}
    by_word = view(run, 0).side.samples["g2p"]
    assert sorted(map(tuple, by_word.values())) == sorted(map(tuple, by_item.values()))


def test_lines_are_whole_wherever_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    (before,) = read_samples(run, run.manifest())
    for size in (1, 7, 300, 1 << 20):
        monkeypatch.setattr("harness.report.html.samples.BLOCK", size)
        (again,) = read_samples(run, run.manifest())
        assert again.total.tolist() == before.total.tolist()


def test_samples_of_other_orders_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.folder / "samples.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"order":"latency-cache-1"', b'"order":"parity-cache-1"'))
    assert read_samples(run, run.manifest()) == []


def test_a_torn_last_line_is_left_out_and_a_broken_one_is_damage(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.folder / "samples.jsonl"
    whole = path.read_bytes()
    (before,) = read_samples(run, run.manifest())
    path.write_bytes(whole + b'{"order": "latency-cache-1", "rec')
    (torn,) = read_samples(run, run.manifest())
    assert len(torn) == len(before)
    path.write_bytes(whole + b"{}\n" + whole)
    with pytest.raises(RunDamaged, match=f"line {len(whole.splitlines()) + 1}: "):
        read_samples(run, run.manifest())
    for broken in (b"{}\n", b"\xff\n", whole.splitlines(keepends=True)[3].replace(b"warmup", b"tired")):
        path.write_bytes(whole + broken)
        with pytest.raises(RunDamaged, match=r"samples\.jsonl"):
            read_samples(Run(run.folder), run.manifest())


def test_raw_samples_there_and_back() -> None:
    samples = made_up(500)
    words = {item: ("fra", f"mot, {item}") for item in samples.items}
    table = raw_samples(samples, words, {"run": "r"})
    columns = {column.name: column for column in table.columns}
    assert table.note == ""
    assert samples.parts is not None
    assert table.constants == {"run": "r", "variant": "cache"}
    assert unpacked(columns["total_ns"], table.rows) == samples.total.tolist()
    assert unpacked(columns["prefill_ns"], table.rows) == samples.parts.prefill.tolist()
    assert columns["word"].labels is not None
    named = [columns["word"].labels[at] for at in unpacked(columns["word"], table.rows)]
    assert named == [f"mot, {samples.items[at]}" for at in samples.item]


def test_of_too_many_samples_the_rounding_is_reported_and_small() -> None:
    samples = made_up(500, parts=False)
    table = raw_samples(samples, {}, {})
    assert "encoder_ns" not in {column.name for column in table.columns}
    total = next(column for column in table.columns if column.name == "total_ns")
    assert total.factor == 1000
    assert f"rounded to {total.factor:,} ns" in table.note
    off = np.abs(np.array(unpacked(total, table.rows)) - samples.total)
    assert 0 < off.max() <= total.factor / 2


def test_times_beyond_32_bits_keep_their_size() -> None:
    samples = made_up(30)
    samples.total[4] = 70_000_000_000
    column = next(one for one in raw_samples(samples, {}, {}).columns if one.name == "total_ns")
    assert unpacked(column, 30)[4] == 70_000_000_000


@pytest.mark.parametrize(("spread", "expected"), [(0, 1), (40, 1), (60, 1), (600, 10), (60_000, 1000)])
def test_the_grain_is_a_fiftieth_of_the_spread_at_most(spread: int, expected: int) -> None:
    assert grain(np.array([10**9 - spread, 10**9, 10**9 + spread])) == expected


def test_the_histogram_counts_every_sample() -> None:
    samples = made_up(9001)
    figure = distributions([Series("A", 0, samples.total), Series("B", 1, samples.total[:100])])
    assert figure is not None
    hills = [trace for trace in figure.traces if trace.get("fill") == "toself"]
    # Each bin is drawn by its two upper corners.
    assert [sum(hill["customdata"]) // 2 for hill in hills] == [100, 9001]
    assert distributions([]) is None


def test_few_samples_are_points_of_their_own() -> None:
    figure = in_order("A cache", 0, made_up(SINGLE_POINTS), "word")
    assert sum(len(trace["x"]) for trace in figure.traces) == SINGLE_POINTS


def test_of_many_samples_the_extremes_are_drawn() -> None:
    samples = made_up(50_000)
    figure = in_order("A cache", 0, samples, "word")
    by_name = {trace["name"]: trace for trace in figure.traces}
    relative = samples.total / samples.item_medians()[samples.item]
    assert all(len(trace["x"]) == STRETCHES for trace in figure.traces)
    assert max(by_name["slowest"]["y"]) == pytest.approx(relative.max(), rel=1e-4)
    assert min(by_name["fastest"]["y"]) == pytest.approx(relative.min(), rel=1e-4)
    assert f"{STRETCHES} equal stretches" in figure.note


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 2.0), (0.9, 1.1), (5.0, 5.01), (1e-3, 1e6), (0.55, 2.1), (2.9, 3.1), (1e3, 1.001e3)]
)
def test_a_logarithmic_axis_has_a_few_ticks_within_its_bounds(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
