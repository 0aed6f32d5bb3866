"""Time PyTorch in a process of its own: ``python -m harness.models.timing_worker``."""

from __future__ import annotations

import logging
import pkgutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.core.progress import Progress
from harness.core.worker import serve
from harness.models.timing import Call


@dataclass
class TimingWorker:
    """Hold a maker of calls for each model; calls are kept, so that nothing is made ready twice."""

    models: dict[str, Callable[[dict[str, Any]], Call]] = field(default_factory=dict)
    calls: dict[tuple[str, str], Call] = field(default_factory=dict)

    def handle(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        if request["kind"] == "load":
            found = self._load(request, progress)
        else:
            call = self._call(request["name"], request["item"])
            found = self._time(call, request) if request["kind"] == "time" else call.answer(call.run())
        return {**found, "cpu_ns": time.process_time_ns()}

    def _load(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        progress("loading PyTorch")
        import torch

        torch.set_num_threads(request["threads"])
        progress(f"loading {request['name']}")
        self.models[request["name"]] = pkgutil.resolve_name(request["load"])(request["request"])
        return {"torch_version": torch.__version__}

    def _call(self, model: str, item: dict[str, Any]) -> Call:
        key = model, str(item["item"])
        if key not in self.calls:
            self.calls[key] = self.models[model](item)
        return self.calls[key]

    def _time(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        clock = time.perf_counter_ns
        warm = clock() + request["warm_ns"]
        call.run()
        while clock() < warm:
            call.run()
        found: list[int] = []
        while not found or (sum(found) < request["timed_ns"] and len(found) < request["most"]):
            began = clock()
            call.run()
            found.append(clock() - began)
        return {"latency_ns": found}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(TimingWorker().handle)
