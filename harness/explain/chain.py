"""Make the calls that generate a text, or of a tensor workload, in PyTorch as the runner makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.export import ExportedProgram

from harness.explain.reference import Arithmetic, Values, run_graph
from harness.explain.rounding import Rounding
from harness.explain.schema import INPUTS
from harness.models.functions import ModelFunctions
from harness.models.tokenizer import PAD_ID, encode

ENCODER, PREFILL, STEP, DECODER = "encoder", "decoder_prefill", "decoder_step", "decoder"


@dataclass(frozen=True)
class Text:
    """Describe the calls that generate a text.
    ``prompt`` are its tokens, ``fed`` the decoder's inputs with the start token first, ``batch`` the model's rows.
    """

    prompt: list[int]
    fed: list[int]
    batch: int
    cache_shape: list[int] | None
    cache_dtype: torch.dtype = torch.float32

    def calls(self, last_step: int) -> list[tuple[str, int]]:
        """Return the function calls up to a step. Without a cache the last call repeats all earlier ones."""
        if self.cache_shape is None:
            return [(ENCODER, 0), (DECODER, last_step)]
        return [(ENCODER, 0), (PREFILL, 0), *((STEP, step) for step in range(last_step + 1))]


class AnyChain(Protocol):
    """Make the calls of one item, in one arithmetic."""

    def advance(self, function: str, call: int, given: Mapping[str, Tensor] | None = None) -> Values:
        """Return the next call's values; ``given``: see :func:`run_graph`."""
        ...


@dataclass(frozen=True)
class Single:
    """Run a tensor workload, which is one call."""

    program: ExportedProgram
    inputs: tuple[Tensor, ...]
    arithmetic: Arithmetic
    rounding: Rounding

    def advance(self, function: str, call: int, given: Mapping[str, Tensor] | None = None) -> Values:
        return run_graph(self.program, self.inputs, self.arithmetic, self.rounding, function, given)


class Chain:
    """Run through the calls in one arithmetic, in their order; each call's results are inputs of later ones."""

    def __init__(
        self, programs: Mapping[str, ExportedProgram], text: Text, arithmetic: Arithmetic, rounding: Rounding
    ) -> None:
        self.programs, self.text, self.arithmetic, self.rounding = programs, text, arithmetic, rounding
        self._hidden: Any = None
        self._memory: Any = None
        self._cache: Any = None
        if text.cache_shape is not None:
            self._cache = torch.zeros(text.cache_shape, dtype=text.cache_dtype)

    def advance(self, function: str, call: int, given: Mapping[str, Tensor] | None = None) -> Values:
        """Return the call's values; ``given``: see :func:`run_graph`."""
        found = run_graph(
            self.programs[function], self._inputs(function, call), self.arithmetic, self.rounding, function, given
        )
        if function == ENCODER:
            self._hidden = found.results[0]
        elif function == PREFILL:
            self._memory = found.results[0]
        elif function == STEP:
            self._cache = found.results[2]
        return found

    def _inputs(self, function: str, call: int) -> tuple[Tensor, ...]:
        text = self.text
        lengths = _integers([len(text.prompt)] * text.batch)
        if function == ENCODER:
            return _integers([text.prompt] * text.batch), lengths
        if function == PREFILL:
            return (self._hidden,)
        if function == STEP:
            return _integers([text.fed[call]]), _integers([0]), _integers([call]), lengths, self._cache, self._memory
        fed = text.fed[: call + 1]
        rows = [fed, *[[PAD_ID] * len(fed)] * (text.batch - 1)]
        return _integers(rows), self._hidden, lengths


@dataclass(frozen=True)
class Ready:
    """Hold a subject's graphs and their calls.
    ``calls`` are the compared calls in their order. ``chain`` takes an arithmetic and the tokens that were fed.
    """

    programs: Mapping[str, ExportedProgram]
    calls: Sequence[tuple[str, int]]
    chain: Callable[[Arithmetic, list[int]], AnyChain]


def ready_call(
    request: Mapping[str, Any], _model: ModelFunctions, programs: Mapping[str, ExportedProgram], rounding: Rounding
) -> Ready:
    """Return the one call of a tensor workload, with the inputs in the request's folder."""
    given = load_file(Path(request["folder"]) / INPUTS)
    inputs = tuple(given[name] for name in request["inputs"])
    [(name, program)] = programs.items()
    return Ready(programs, [(name, 0)], lambda how, _tokens: Single(program, inputs, how, rounding))


def ready_text(
    request: Mapping[str, Any], model: ModelFunctions, programs: Mapping[str, ExportedProgram], rounding: Rounding
) -> Ready:
    """Return the calls that generate a text."""
    text = Text(
        prompt=encode(request["prompt"]),
        fed=[model.metadata["decoder_start_token_id"]],
        batch=request["batch"],
        cache_shape=model.metadata["self_cache_shape"],
        cache_dtype=getattr(torch, model.metadata["self_cache_dtype"]),
    )

    def chain(arithmetic: Arithmetic, tokens: list[int]) -> AnyChain:
        return Chain(programs, replace(text, fed=[*text.fed, *tokens]), arithmetic, rounding)

    return Ready(programs, text.calls(request["last_step"]), chain)


def _integers(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)
