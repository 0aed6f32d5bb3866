"""Sums, shares, groups and limits of a profile small enough to be counted by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.profiling import ProfileSummary
from harness.profiling.groups import by_module, by_operator, label
from harness.profiling.roofline import roofs
from harness.profiling.summary import overhead, summarize_profile
from harness.report.document import Line, Tone
from harness.report.profile import profile_report, profile_text
from harness.report.render import to_markdown, to_terminal
from harness.results.schema.profile import Overhead, Profiles
from tests.profiling.profiles import MACHINE, PROVENANCE, STEPS, lines


def summary(*, emulated: bool = False) -> ProfileSummary:
    return summarize_profile(
        lines(),
        PROVENANCE,
        workload="g2p",
        unit="word",
        variant="cache",
        precision="fp32",
        archive_sha256="0" * 64,
        emulated=emulated,
    )


def test_timed_samples_are_summed_and_warm_ones_are_not() -> None:
    found = summary()
    assert (found.samples, found.total_ns) == (2, 6000)
    assert [(site.function, site.index, site.calls, site.total_ns) for site in found.sites] == [
        ("encoder", 0, 2, 200),
        ("encoder", 1, 2, 2000),
        ("decoder_step", 0, 2 * STEPS, 600 * STEPS),
        ("decoder_step", 1, 2 * STEPS, 100 * STEPS),
    ]
    assert [(f.name, f.calls, f.total_ns, f.kernel_ns) for f in found.functions] == [
        ("encoder", 2, 2600, 2200),
        ("decoder_step", 4, 1600, 1400),
    ]
    assert sum(site.total_ns for site in found.sites) <= sum(f.total_ns for f in found.functions) <= found.total_ns


def test_operators_and_modules_share_the_time() -> None:
    found = summary()
    groups = {group.name: group for group in by_operator(found)}
    assert list(groups) == [
        "encoder: linear",
        "decoder_step: linear",
        "encoder: embedding",
        "decoder_step: attend_memory",
    ]
    assert label(found.sites[1]) == "linear"
    product = groups["encoder: linear"]
    assert (product.bytes, product.flops, product.bandwidth, product.flop_rate) == (8000, 4000, 4.0, 2.0)
    modules = {(m.function, m.path): m for m in by_module(found)}
    assert modules["encoder", ""].total_ns == 2200
    assert modules["encoder", ""].own_ns == 0
    assert modules["encoder", "layers.0"].own_ns == 2000
    assert modules["decoder_step", "layers.1"].total_ns == 1400
    assert modules["decoder_step", "layers.1"].own_ns == 200
    assert modules["decoder_step", "layers.1.q"].own_ns == 1200


def test_the_roofline_takes_the_slower_of_memory_and_arithmetic() -> None:
    found = summary()
    roof = roofs(found)["encoder"]
    # 4100 bytes move in one call of the encoder, little more than the smallest working set measured.
    assert roof.bandwidth == pytest.approx(8e9 - 4e9 * (4100 - 1024) / (2**20 - 1024))
    embedding, product = found.sites[:2]
    assert roof.least_ns(embedding) == pytest.approx(100 / roof.bandwidth * 1e9)
    assert roof.least_ns(product) == pytest.approx(1000.0)
    assert by_operator(found)[0].efficiency == pytest.approx(1.0)
    integer = found.model_copy(update={"precision": "int8"})
    assert roofs(integer)["encoder"].flops == MACHINE.flops["int8"]


def test_marks_cost_what_the_fastest_samples_differ_by() -> None:
    found = summary().overhead
    assert found is not None
    assert (found.items, found.ratio) == (2, 1.2)
    assert (found.plain_ns, found.profiled_ns) == pytest.approx((2500, 3000))
    assert overhead({"a": [10]}, {"b": [10]}) is None
    disturbed = overhead({"a": [100, 900], "b": [100]}, {"a": [700, 103], "b": [103, 5000]})
    assert disturbed is not None
    assert disturbed.ratio == pytest.approx(1.03)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "noisy"),
    [
        (0.883, 0.870, 0.894, True),
        (0.883, None, None, True),
        (0.883, 0.780, 1.010, False),
        (0.980, 0.973, 0.990, False),
        (1.200, 1.190, 1.210, False),
    ],
)
def test_marks_that_save_time_were_measured_on_a_noisy_machine(
    ratio: float, low: float | None, high: float | None, noisy: bool
) -> None:
    cost = Overhead(items=9, ratio=ratio, low=low, high=high, plain_ns=100.0, profiled_ns=100.0 * ratio)
    found = summary().model_copy(update={"overhead": cost})
    stored = Profiles(workloads=[found]).model_dump_json()
    assert f'"noisy":{str(noisy).lower()}' in stored
    assert Profiles.model_validate_json(stored).workloads[0].overhead == cost
    out = io.StringIO()
    to_terminal(profile_report(found), Console(file=out, width=300))
    formats = (profile_text(found), to_markdown(profile_report(found)), out.getvalue())
    assert {"the machine was too noisy, measure again" in text for text in formats} == {noisy}
    assert {"the times below are not to be trusted" in text for text in formats[1:]} == {noisy}
    assert [line.tone for line in profile_report(found)[1:2] if isinstance(line, Line)] == [
        Tone.UNSURE if noisy else Tone.PLAIN
    ]


def test_the_report_accounts_for_all_of_the_time() -> None:
    text = to_markdown(profile_report(summary(), sites=True))
    table = text.split("## Profile of g2p by module")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")][2:]
    assert sum(float(row[4].strip(" %")) for row in rows) == pytest.approx(100, abs=0.5)
    assert "profiling costs +20.0%" in text
    assert "profiling costs more than 5%" in text
    assert "33.3% of the time in encoder: linear" in profile_text(summary())


def test_an_emulators_profile_has_shares_and_no_rates() -> None:
    found = summary(emulated=True)
    text = to_markdown(profile_report(found))
    assert text.startswith("# Profile of g2p (emulated)")
    assert "An emulator's times are no measure of a phone's" in text
    row = next(line for line in text.splitlines() if line.startswith("| encoder: linear")).split("|")
    assert [cell.strip() for cell in row[7:8] + row[9:11]] == ["–", "–", "–"]
    assert roofs(found) == {}
