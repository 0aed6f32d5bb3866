"""Time PyTorch as one of two sides that take turns, in a process that keeps the models it has loaded.

Times are not cached: a time is only useful with one from the same session. Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from harness.core.progress import Progress
from harness.core.worker import WorkerProcess
from harness.models.workload import TimedModel

WORKER = "harness.models.timing_worker"


@dataclass(frozen=True)
class Call:
    """Hold an item made ready: ``run`` is timed, and ``answer`` makes an answer of its result."""

    run: Callable[[], Any]
    answer: Callable[[Any], dict[str, Any]]


class TimedPyTorch(Protocol):
    """Get answers and times of PyTorch; :class:`TimingProcess` is the implementation."""

    @property
    def version(self) -> str | None:
        """Return PyTorch's version, once anything is loaded."""
        ...

    def settle(self, progress: Progress) -> None:
        """Wait until everything is loaded, so that loading disturbs nothing that is timed."""
        ...

    def answer(self, model: str, item: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Return the answer for an item, by the same call that is timed: ``token_ids``, or ``tensors``."""
        ...

    def time(self, model: str, item: dict[str, Any], *, warm_ns: int, timed_ns: int, most: int) -> list[int]:
        """Time calls of an item, in nanoseconds, after untimed calls that take ``warm_ns``.

        Calls are timed until together they took ``timed_ns`` or there are ``most``; there is at least one.
        """
        ...

    def cpu_ns(self) -> int:
        """Return the processor time that it has used so far, in nanoseconds."""
        ...

    def close(self) -> None: ...


class TimingProcess:
    """Run the timing worker; it begins to load the models at once.

    ``deadline``: seconds that any answer may take.
    """

    def __init__(self, models: list[TimedModel], *, threads: int, deadline: float) -> None:
        self._worker = WorkerProcess(WORKER, threads=threads)
        self._deadline = deadline
        self._cpu_ns = 0
        self.version: str | None = None
        for model in models:
            request = {"kind": "load", "name": model.name, "threads": threads, "load": model.load}
            self._worker.begin(request | {"request": dict(model.request)})

    @property
    def pid(self) -> int:
        return self._worker.pid

    def settle(self, progress: Progress) -> None:
        """Wait until everything is loaded. Raises WorkerError, WorkerFailed."""
        loaded = self._worker.settle(progress, deadline=self._deadline)
        if loaded is not None:
            self.version, self._cpu_ns = loaded["torch_version"], loaded["cpu_ns"]

    def answer(self, model: str, item: dict[str, Any], progress: Progress) -> dict[str, Any]:
        self.settle(progress)
        return self._ask({"kind": "answer", "name": model, "item": item}, progress)

    def time(self, model: str, item: dict[str, Any], *, warm_ns: int, timed_ns: int, most: int) -> list[int]:
        request = {"kind": "time", "name": model, "item": item, "warm_ns": warm_ns, "timed_ns": timed_ns, "most": most}
        found: list[int] = self._ask(request, lambda _text: None)["latency_ns"]
        return found

    def cpu_ns(self) -> int:
        return self._cpu_ns

    def close(self) -> None:
        self._worker.close()

    def _ask(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        found = self._worker.ask(request, progress, deadline=self._deadline)
        self._cpu_ns = found["cpu_ns"]
        return found
