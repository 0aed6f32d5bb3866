"""Models of tensors, several in one binary: each runs, says what PyTorch says by its own measure, and is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices import IncompleteResult
from harness.protocol.schema import Load
from harness.validate import Verdict

if TYPE_CHECKING:
    from harness.results import ParityLine
    from harness.run.session import RunSession

Replay = Callable[[Sequence[float], dict[str, Any]], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each ``--models``; one file may hold several models."""
    named = [name for name in metafunc.config.getoption("harness_models", []) if name != "g2p"]
    if not named:
        raise pytest.UsageError("these tests need a model: pytest suites --device host --models detector")
    metafunc.parametrize("model", named)


@pytest.mark.harness_step("models")
def test_model_runs(harness_run: RunSession, harness_facts: dict[str, Any], model: str) -> None:
    for name in harness_run.of(model):
        result = harness_run.tensors[name].smoke().require_complete()
        loaded = [record.workload for record in result.records if isinstance(record, Load)]
        assert loaded == [name], "a model's order loads nothing of the others"


@pytest.mark.harness_step("models")
def test_model_parity(
    harness_run: RunSession, model: str, subtests: pytest.Subtests, record_property: Callable[[str, object], None]
) -> None:
    for name in harness_run.of(model):
        lines = harness_run.tensors[name].parity()
        errors = [line.max_error for line in lines if line.max_error is not None]
        record_property(f"parity.{name}.max_error", max(errors, default=None))
        with subtests.test(msg=name):
            _judge(harness_run, "parity", name, lines)


@pytest.mark.harness_step("models")
@pytest.mark.benchmark(group="latency of a pass: geometric mean over its items")
def test_model_latency(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    model: str,
    replay_benchmark: Replay,
    record_property: Callable[[str, object], None],
) -> None:
    from harness.results.summarize import item_latencies, pass_figures

    for name in harness_run.of(model):
        times = harness_run.tensors[name].times()
        emulated = harness_run.device.emulated
        if times.samples:
            label = f"latency.{name}.emulated" if emulated else f"latency.{name}"
            medians = {item: found.median for item, found in item_latencies(times.samples).items()}
            for item, median in medians.items():
                record_property(f"{label}.{item}.median_ns", median)
            if not emulated and len(harness_run.of(model)) == 1:
                # A pass in one number: the times of unlike items have no common distribution.
                replay_benchmark(pass_figures(times.samples), {**harness_facts, "model": name, "median_ns": medians})
        _judge(harness_run, "latency", name, times.parity)


def _judge(run: RunSession, purpose: Any, name: str, lines: Sequence[ParityLine]) -> None:
    from harness.results.summarize import describe

    wrong = [f"{line.comparison}: {describe(line)}" for line in lines if line.verdict.fails]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    missing = sum(line.verdict is Verdict.MISSING for line in lines)
    if missing:
        reason = run.order_reason(purpose, name)
        raise IncompleteResult(f"{missing} of {len(lines)} items of {name} were not compared: {reason}")
