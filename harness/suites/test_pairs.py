"""What share of PyTorch's time is it? On this machine both are timed alternately, item by item, in one session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices import IncompleteResult
from harness.suites.chosen import models, prefixed

if TYPE_CHECKING:
    from harness.run.pairs import PairedTimes
    from harness.run.session import RunSession

Replay = Callable[[Sequence[float], dict[str, Any]], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a pair of tests for each model."""
    metafunc.parametrize("model", models(metafunc))
    metafunc.parametrize("side", ["artifact", "pytorch"])


@pytest.mark.harness_step("pairs")
@pytest.mark.benchmark(group="interleaved with PyTorch: each round's geometric mean over the same items")
def test_pairs(
    harness_run: RunSession,
    harness_facts: dict[str, Any],
    model: str,
    side: str,
    replay_benchmark: Replay,
    record_property: Callable[[str, object], None],
) -> None:
    names = harness_run.of(model)
    for name in names:
        found = harness_run.pairs(name)
        assert found is not None, "these tests are collected on this machine alone"
        if side == "artifact":
            _record(name, found, record_property)
        figures = found.round_figures(side)
        if figures and len(names) == 1:
            replay_benchmark(figures, {**harness_facts, "model": name, "side": side, "items": found.facts.items})
    for name in names:
        _judge(name, side, harness_run)


def _record(name: str, found: PairedTimes, record_property: Callable[[str, object], None]) -> None:
    label = f"{prefixed('latency', name)}.ratio_to_pytorch"
    if found.ratio is None:
        record_property(label, "inconclusive")
        return
    record_property(label, found.ratio.ratio if found.ratio.conclusive else "inconclusive")
    for key in ("low", "high", "items", "rounds", "busy"):
        record_property(f"{label}.{key}", getattr(found.ratio, key))


def _judge(name: str, side: str, run: RunSession) -> None:
    """A fast wrong answer is no result; nor is a time with other answers than the compared ones."""
    found = run.pairs(name)
    assert found is not None
    if found.error is not None:
        raise found.error
    if side == "artifact" and found.facts.wrong:
        pytest.fail("\n".join(found.facts.wrong.values()), pytrace=False)
    if side == "pytorch" and found.facts.differing:
        raise IncompleteResult("\n".join(found.facts.differing.values()))
