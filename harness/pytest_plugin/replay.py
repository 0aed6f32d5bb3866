"""Show samples measured elsewhere in pytest-benchmark as if it had measured them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest


class ReplayClock:
    """Show durations measured elsewhere as a clock that pytest-benchmark reads."""

    __name__ = "runner"

    def __init__(self, durations_ns: Sequence[float]) -> None:
        self._durations = iter(durations_ns)
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def rewind(self) -> None:
        """Set the clock to zero before each round, so that a round's difference is exactly its duration."""
        self._now = 0.0

    def advance(self) -> None:
        self._now = next(self._durations) / 1e9


@pytest.fixture
def replay_benchmark(request: pytest.FixtureRequest) -> Callable[[Sequence[float], dict[str, Any]], None]:
    """Return ``replay_benchmark(durations_ns, extra_info)``, which gives samples unchanged to pytest-benchmark."""

    def replay(durations_ns: Sequence[float], extra_info: dict[str, Any]) -> None:
        clock = ReplayClock(durations_ns)
        # This marker comes first: pytest-benchmark reads only one, and the test's own may name a group.
        own = request.node.get_closest_marker("benchmark")
        options = {**(own.kwargs if own else {}), "timer": clock}
        request.node.add_marker(pytest.mark.benchmark(**options), append=False)
        benchmark = request.getfixturevalue("benchmark")
        benchmark.extra_info.update(extra_info)
        benchmark.pedantic(clock.advance, setup=clock.rewind, rounds=len(durations_ns), iterations=1, warmup_rounds=0)

    return replay
