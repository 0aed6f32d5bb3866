"""How long does an item take? The runner's samples, not pytest's; test_pairs.py times it with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from harness.suites.chosen import models, prefixed

if TYPE_CHECKING:
    from harness.run.session import RunSession

Replay = Callable[[Sequence[float], dict[str, Any]], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each model. Stored benchmarks know the default model's test as ``test_latency[artifact]``."""
    named = metafunc.config.getoption("harness_models", [])
    metafunc.parametrize("model", models(metafunc), ids=named or ["artifact"])


@pytest.mark.harness_step("latency")
@pytest.mark.benchmark(group="latency: of each word, or of a pass as the geometric mean over its different items")
def test_latency(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    model: str,
    replay_benchmark: Replay,
    record_property: Callable[[str, object], None],
) -> None:
    """Time every item that is timed."""
    from harness.results.summarize import figures_of

    emulated = harness_run.device.emulated
    names = harness_run.of(model)
    for name in names:
        workload = harness_run.workloads[name]
        times = workload.times()
        figures = figures_of(times.samples, alike=workload.workload.alike)
        label = prefixed("latency", name) + (".emulated" if emulated else "")
        for figure, value in figures.named.items():
            record_property(f"{label}.{figure}", value)
        if figures.samples and not emulated and len(names) == 1:  # pytest-benchmark's files are there to be compared
            facts = {"variant": workload.compared_as, "model": name, "figures": figures.named}
            replay_benchmark(figures.samples, {**harness_facts, **facts})
    for name in names:
        workload = harness_run.workloads[name]
        times = workload.times()
        times.result.require_complete()
        wrong = workload.shortcomings(times.parity)
        assert not wrong, f"a fast wrong answer is no result; in the timed passes {'; '.join(wrong)}"
