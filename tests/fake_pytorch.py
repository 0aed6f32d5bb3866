"""A PyTorch that is timed alternately without being there: its answers are worked out, its times are made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.core.progress import Progress
from harness.models.workload import TimedModel

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


@dataclass
class FakePyTorch:
    """``answers`` is what it answers, ``taken`` what a call takes; ``before`` is called before each is timed."""

    models: list[TimedModel]
    answers: Answer
    taken: Callable[[dict[str, Any]], int] = lambda _item: 10_000
    before: Callable[[dict[str, Any]], None] = lambda _item: None
    asked: list[str] = field(default_factory=list)
    closed: bool = False
    version: str | None = "0"

    def settle(self, progress: Progress) -> None: ...

    def answer(self, model: str, item: dict[str, Any], progress: Progress) -> dict[str, Any]:
        assert model in [one.name for one in self.models]
        return self.answers(model, item)

    def time(self, model: str, item: dict[str, Any], *, warm_ns: int, timed_ns: int, most: int) -> list[int]:
        assert not self.closed
        self.before(item)
        self.asked.append(item["item"])
        return [self.taken(item)]

    def cpu_ns(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True
