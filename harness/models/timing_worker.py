"""Time PyTorch in a process of its own: ``python -m harness.models.timing_worker``."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.progress import Progress
from harness.core.worker import serve

Answer = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Call:
    """Hold an item made ready: ``run`` is timed, and ``say`` makes an answer of its result."""

    run: Callable[[], Any]
    say: Answer


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
            found = self._time(call, request) if request["kind"] == "time" else call.say(call.run())
        return {**found, "cpu_ns": time.process_time_ns()}

    def _load(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        progress("loading PyTorch")
        import torch

        torch.set_num_threads(request["threads"])
        progress(f"loading {request['name']}")
        self.models[request["name"]] = words(request) if request["of"] == "words" else tensors(request)
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


def words(request: dict[str, Any]) -> Callable[[dict[str, Any]], Call]:
    """Return the maker of calls for a G2P checkpoint: greedy decoding, as in the reference."""
    import torch

    from harness.models.g2p.loading import greedy, load_checkpoint
    from harness.models.g2p.tokenizer import encode_prompt

    t5 = load_checkpoint(Path(request["checkpoint"]))

    def ready(item: dict[str, Any]) -> Call:
        prompt = torch.tensor([encode_prompt(item["language"], item["word"], space=item["prompt_space"])])
        return Call(lambda: greedy(t5, prompt, item["max_output_len"]), lambda ids: {"token_ids": ids[0, 1:].tolist()})

    return ready


def tensors(request: dict[str, Any]) -> Callable[[dict[str, Any]], Call]:
    """Return the maker of calls for a user's model: calls of its module with its inputs ready."""
    import torch

    from harness.models.tensor.flat import answered, flattened
    from harness.models.tensor.loading import checked_items, find_spec, users_code
    from harness.protocol.tensors import encode

    path = Path(request["path"])
    spec = find_spec(path, request["module"], request["attribute"], request["model"])
    items = {item: tuple(inputs.values()) for item, inputs in checked_items(spec, path).items()}
    with users_code(path, f"building {spec.name!r}"):
        module = flattened(spec)

    def ready(item: dict[str, Any]) -> Call:
        inputs = items[item["item"]]

        def say(_result: Any) -> dict[str, Any]:
            with users_code(path, f"running {spec.name!r} on item {item['item']!r}"):
                found = answered(module, inputs, tuple(spec.output_names))
            arrays = {name: output.contiguous().numpy() for name, output in found.items()}
            return {"tensors": encode(arrays).model_dump()}

        return Call(torch.inference_mode()(lambda: module.answer(inputs)), say)

    return ready


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(TimingWorker().handle)
