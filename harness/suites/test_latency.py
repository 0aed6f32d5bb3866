"""How long does a word take? On this machine beside PyTorch on the same words. The runner's samples, not pytest's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.session import RunSession

Replay = Callable[[Sequence[int], dict[str, Any]], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """PyTorch runs on this machine, and is compared with what runs here only."""
    if "side" in metafunc.fixturenames:
        here = metafunc.config.getoption("harness_device") in (None, "host")
        metafunc.parametrize("side", ["artifact", "pytorch"] if here else ["artifact"])


@pytest.mark.harness_step("latency")
@pytest.mark.benchmark(group="latency per word")
def test_latency(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    side: str,
    replay_benchmark: Replay,
    record_property: Callable[[str, object], None],
) -> None:
    from harness.measure import distribution, paired_ratio
    from harness.results.summarize import parity_summary, shortcomings

    latency = harness_run.latency()
    theirs = {
        item.id: said.latency_ns
        for item, said in zip(harness_run.items, harness_run.reference().items, strict=True)
        if said.latency_ns
    }
    samples = latency.samples if side == "artifact" else theirs
    if samples:
        found = distribution(samples)
        emulated = harness_run.device.emulated
        label = "latency.emulated" if emulated else "latency"
        record_property(f"{label}.median_ns", found.median)
        record_property(f"{label}.p95_ns", found.p95)
        if side == "artifact" and set(samples) & set(theirs):
            record_property("latency.ratio_to_pytorch", paired_ratio(theirs, samples).ratio)
        if not emulated:  # pytest-benchmark's files are there to be compared
            replay_benchmark(
                [sample for word in samples.values() for sample in word],
                {**harness_facts, "variant": harness_run.options.variant if side == "artifact" else "pytorch"},
            )
    if side == "artifact":
        latency.result.require_complete()
        wrong = shortcomings(harness_run.allowance, parity_summary(latency.parity), {}, {})
        assert not wrong, f"a fast wrong answer is no result; in the timed passes {'; '.join(wrong)}"
