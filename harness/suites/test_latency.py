"""How long does a word take? The runner's samples, not pytest's; beside PyTorch it is timed in test_pairs.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.run.session import RunSession

Replay = Callable[[Sequence[int], dict[str, Any]], None]


@pytest.mark.harness_step("latency")
@pytest.mark.benchmark(group="latency per word")
@pytest.mark.parametrize("side", ["artifact"])
def test_latency(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    side: str,
    replay_benchmark: Replay,
    record_property: Callable[[str, object], None],
) -> None:
    """Every word that is timed; ``side`` is what stored benchmarks know the test by."""
    from harness.measure import distribution
    from harness.results.summarize import parity_summary, shortcomings

    latency = harness_run.generation.times()
    if latency.samples:
        found = distribution(latency.samples)
        emulated = harness_run.device.emulated
        label = "latency.emulated" if emulated else "latency"
        record_property(f"{label}.median_ns", found.median)
        record_property(f"{label}.p95_ns", found.p95)
        record_property(f"{label}.words", found.words)
        if not emulated:  # pytest-benchmark's files are there to be compared
            replay_benchmark(
                [sample for word in latency.samples.values() for sample in word],
                {**harness_facts, "variant": harness_run.options.variant},
            )
    latency.result.require_complete()
    wrong = shortcomings(harness_run.policy, parity_summary(latency.parity), {}, {})
    assert not wrong, f"a fast wrong answer is no result; in the timed passes {'; '.join(wrong)}"
