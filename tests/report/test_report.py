"""What the reports contain, and that nothing a run contains can disturb their form."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.compiler.observe.provenance import LayerError
from harness.devices import Knob
from harness.report import Incomparable, compare_runs, report_run, to_markdown, to_terminal
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import duration, ratio
from harness.report.rounding import rounding_blocks
from harness.results import Manifest, Store, VariantFacts
from harness.validate import TolerancePolicy
from tests.results.samples import make_run


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, "–"),
        (0, "0 ns"),
        (417, "417 ns"),
        (999.6, "1.00 µs"),
        (1_380_000, "1.38 ms"),
        (13_800_000, "13.8 ms"),
        (999_600, "1.00 ms"),
        (138_000_000, "138 ms"),
        (2_050_000_000, "2.05 s"),
    ],
)
def test_durations(nanoseconds: float | None, text: str) -> None:
    assert duration(nanoseconds) == text


def test_ratios() -> None:
    assert ratio(1.0512, 1.0449, 1.0601) == "×1.051 [1.045, 1.060]"


def test_a_run_in_markdown(tmp_path: Path) -> None:
    text = to_markdown(report_run(make_run(tmp_path)))
    assert "**PASS  ·  3 of 3 comparisons equal, 0 ties (3 words)" in text
    assert "| cache | 3 | 3 | 0 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "| all | 3 | 0.125 | 0.333 | 0.125 | 0.333 |" in text
    assert "| cold load, ms | 30.000 |" in text
    assert "| g2p | 3 of 3 | 4 | " in text
    assert "timed apart" not in text
    head = text.split("\n\n")[1]
    assert "of PyTorch's time" in head
    assert re.search(r"×0\.(49|50)\d", head)


def test_a_noisy_ratio_is_no_number(tmp_path: Path) -> None:
    run = make_run(tmp_path, noise=0.5)
    summary = run.summary()
    assert summary is not None
    assert summary.workloads["g2p"].ratio is not None
    text = to_markdown(report_run(run))
    assert not summary.workloads["g2p"].ratio.conclusive
    assert "ratio to PyTorch's time inconclusive, too noisy" in text.split("\n\n")[1]
    assert f"×{summary.workloads['g2p'].ratio.ratio:.3f}" not in text
    assert "the rounds differ too much for a ratio: anything from" in text


def test_what_else_the_machine_did_stands_beside_the_ratio(tmp_path: Path) -> None:
    cause = "others kept 1.5 of 2 cores busy"
    assert cause in to_markdown(report_run(make_run(tmp_path, others=1.5))).split("\n\n")[1]
    assert cause in to_markdown(report_run(make_run(tmp_path, others=1.5, noise=0.5))).split("\n\n")[1]
    for quiet in (0.1, None):
        assert "cores busy" not in to_markdown(report_run(make_run(tmp_path, others=quiet)))


def test_a_run_of_before_is_marked_in_the_ratios_line_as_timed_apart(tmp_path: Path) -> None:
    text = to_markdown(report_run(make_run(tmp_path, apart=True)))
    lines = [line for line in text.splitlines() if "×0." in line]
    head, *table = lines
    assert "of PyTorch's time, but timed apart, in two sessions" in head
    assert "(timed apart)" in table[0]
    assert "| ratio, timed apart |" in text
    assert "PyTorch was timed in another session on 2025-11-28 03:20 UTC" in text


def test_what_a_lossy_precision_costs_beside_what_it_may(tmp_path: Path) -> None:
    text = to_markdown(report_run(make_run(tmp_path, wrong=("w0",), policy=TolerancePolicy(0.6, 0.2))))
    assert "**PASS  ·  2 of 3 comparisons equal, 0 ties (3 words)" in text
    assert "cache agrees on 66.67% of the words, PER +12.50 points" in text
    assert "at least 60.00% and at most +20.00 points are asked for" in text
    assert "agrees on" not in to_markdown(report_run(make_run(tmp_path)))


def test_what_eight_bits_cost_and_what_stays_wide_for_it() -> None:
    layers = [
        LayerError(layers=["m/first"], error=0.01, whole=0.002),
        LayerError(layers=["m/second"], error=0.02, whole=0.3, kept=True),
        LayerError(layers=["m/head"], error=0.9),
    ]
    facts = VariantFacts(
        archive_sha256="", archive_bytes=0, runner_sha256="", runner_bytes=0, target="llvm", rounding={"m": layers}
    )
    text = to_markdown(list(rounding_blocks(Manifest(run_id="r", started="s", options={}, variants={"cache": facts}))))
    assert "What eight bits cost: m" in text
    assert text.index("| m/second | 2.00% | 30.00% | wide |") < text.index("| m/first | 1.00% | 0.20% | int8 |")
    assert "m/head" not in text


def test_the_times_of_an_emulator_are_labelled_and_have_no_ratio(tmp_path: Path) -> None:
    run = make_run(tmp_path, emulated=True)
    text = to_markdown(report_run(run))
    assert "per word (median, emulated)" in text
    assert "Latency (emulated)" in text
    assert "of PyTorch's time" not in text
    summary = run.summary()
    assert summary is not None
    assert summary.workloads["g2p"].ratio is None
    phone = make_run(tmp_path)
    for pair in ((run, phone), (phone, run), (run, run)):
        text = to_markdown(compare_runs(*pair))
        assert "times of an emulator are compared with nothing" in text
        assert "B / A" not in text


def test_what_was_set_on_a_device_and_what_became_of_it(tmp_path: Path) -> None:
    knobs = (
        Knob(name="fixed performance", state="applied", detail="true", restored=True),
        Knob(name="stay awake", state="denied", detail="SecurityException: not allowed"),
        Knob(name="screen", state="applied", detail="on", restored=False),
    )
    text = to_markdown(report_run(make_run(tmp_path, knobs=knobs)))
    assert "| fixed performance | applied | true | restored |" in text
    assert "| stay awake | denied | SecurityException: not allowed |" in text
    assert "| screen | applied | on | NOT restored |" in text
    assert "| battery | level 90, celsius 28.5 | level 89, celsius 31 |" in text
    assert "| clocks mhz | 1800, 2400 |" in text


def test_an_incomplete_run_is_marked_first(tmp_path: Path) -> None:
    text = to_markdown(report_run(make_run(tmp_path, complete=False)))
    assert text.split("\n\n")[1:3] == [
        text.split("\n\n")[1],
        "latency order of cache: killed by SIGKILL",
    ]
    assert text.split("\n\n")[1].startswith("INCONCLUSIVE")
    assert "status incomplete" in text


def test_a_busy_machine_is_reported(tmp_path: Path) -> None:
    assert "busy" not in to_markdown(report_run(make_run(tmp_path)))
    assert "busy (load 3.5 on 2 cores)" in to_markdown(report_run(make_run(tmp_path, load=3.5)))


def test_a_run_that_never_got_anywhere(tmp_path: Path) -> None:
    with Store(tmp_path).create():
        pass
    text = to_markdown(report_run(Store(tmp_path).find("latest")))
    assert "INCONCLUSIVE" in text
    assert "ended early" in text


def test_the_same_run_twice_shows_no_difference(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = to_markdown(compare_runs(run, run))
    assert "B takes ×1.000 \\[1.000, 1.000\\] of A's time per word (3 words), but they were measured apart" in text
    assert "What else differs" not in text


def test_two_runs_get_no_verdict_and_the_doubt_stands_with_the_figure(tmp_path: Path) -> None:
    """However much they differ: it is unknown what else was different."""
    for scale in (0.5, 3.0):
        blocks = compare_runs(make_run(tmp_path), make_run(tmp_path, scale=scale))
        [line] = [block for block in blocks if isinstance(block, Line) and "of A's time" in block.text]
        assert line.tone is Tone.PLAIN
        assert "measured apart" in line.text


def test_a_comparison_warns_of_what_is_not_the_same(tmp_path: Path) -> None:
    a, b = make_run(tmp_path), make_run(tmp_path, device="other", words_sha256="2" * 64, complete=False, scale=0.5)
    text = to_markdown(compare_runs(a, b))
    for expected in (
        "another device",
        "other words",
        "B is incomplete",
        "measured apart",
        "| device cpu\\_model | test cpu | other |",
    ):
        assert expected in text


def test_runs_without_a_shared_word_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path).create():
        pass
    empty = Store(tmp_path).find("latest")
    with pytest.raises(Incomparable, match="share no measured word"):
        compare_runs(make_run(tmp_path), empty)


@given(st.text(max_size=30))
def test_no_text_breaks_a_markdown_table(text: str) -> None:
    made = to_markdown([Heading("t"), Table(["a", "b"], [[text.replace("\r", ""), "x"]]), Line("end")])
    row = made.split("\n\n")[1].split("\n")
    assert len([char for at, char in enumerate(row[2]) if char == "|" and row[2][at - 1] != "\\"]) >= 3
    assert made.endswith("end\n")


@given(st.text(max_size=30))
def test_the_terminal_prints_a_runs_text_and_not_its_markup(text: str) -> None:
    out = io.StringIO()
    to_terminal([Line(f"[red]{text}[/red] [link=x]")], Console(file=out, width=200))
    assert "[red]" in out.getvalue()


def test_what_moves_a_cursor_reaches_neither_a_terminal_nor_markdown() -> None:
    attack = "a\x1b]0;owned\x07\x9b2Jb\u200cc"
    blocks: list[Block] = [Heading(attack), Line(attack), Table([attack, "x"], [[attack, attack]], note=attack)]
    out = io.StringIO()
    to_terminal(blocks, Console(file=out, width=200))
    for text in (out.getvalue(), to_markdown(blocks)):
        assert not {"\x1b", "\x07", "\x9b"} & set(text)
        # A joiner is part of how a word is written.
        assert "b\u200cc" in text
