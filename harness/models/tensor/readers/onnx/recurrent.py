"""LSTM, GRU and plain recurrent layers, as PyTorch's own layers with the weights in PyTorch's order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.models.tensor.readers.onnx.call import Call, Results, operator

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""The places of PyTorch's gates in ONNX's order: input, forget, cell, output; reset, update, new."""
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@operator("LSTM", "GRU", "RNN")
def recurrent(call: Call) -> Results:
    """Run one layer over (time, batch, features), or (batch, time, features) with ``layout`` 1."""
    kind, hidden = call.operator, int(call.attributes["hidden_size"])
    way = call.text("direction", "forward")
    directions = 2 if way == "bidirectional" else 1
    _refuse_what_is_other(call, directions)
    one, batch_first = call.tensor(0), bool(call.attributes.get("layout", 0))
    one = one.transpose(0, 1) if batch_first else one
    weights: list[Tensor] = []
    for at in range(directions):
        both = call.tensor(3)[at] if call.has(3) else torch.zeros(2 * len(GATES[kind]) * hidden, dtype=one.dtype)
        inner, outer = both.chunk(2)
        weights += [_ordered(part, kind) for part in (call.tensor(1)[at], call.tensor(2)[at], inner, outer)]
    states = [_state(call, at, one, directions, hidden, batch_first) for at in (5, 6)][: 2 if kind == "LSTM" else 1]
    one = one.flip(0) if way == "reverse" else one
    layer: Any = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_tanh}[kind]
    state = tuple(states) if kind == "LSTM" else states[0]
    found, *ends = layer(one, state, weights, True, 1, 0.0, False, directions == 2, False)
    found = found.flip(0) if way == "reverse" else found
    steps = found.reshape(*found.shape[:2], directions, hidden)
    steps = steps.permute(1, 0, 2, 3) if batch_first else steps.permute(0, 2, 1, 3)
    return (steps, *(end.transpose(0, 1) if batch_first else end for end in ends))[: call.outputs]


def _refuse_what_is_other(call: Call, directions: int) -> None:
    """Raise BadModel for a form that PyTorch's layers do not have."""
    given = [one.decode() if isinstance(one, bytes) else str(one) for one in call.attributes.get("activations", [])]
    reset = call.attributes.get("linear_before_reset", 0)
    reasons = {
        "its activations are other than PyTorch's": bool(given) and given != USUAL[call.operator] * directions,
        "lengths of sequences are not read": call.has(4),
        "peepholes are not read": call.operator == "LSTM" and call.has(7),
        "it is clipped": "clip" in call.attributes,
        "its input gate is coupled": bool(call.attributes.get("input_forget", 0)),
        "its reset gate acts before the product": call.operator == "GRU" and not reset,
    }
    for reason, applies in reasons.items():
        if applies:
            raise call.refuse(reason)


def _ordered(part: Tensor, kind: str) -> Tensor:
    gates = part.chunk(len(GATES[kind]))
    return torch.cat([gates[at] for at in GATES[kind]]) if len(gates) > 1 else part


def _state(call: Call, at: int, one: Tensor, directions: int, hidden: int, batch_first: bool) -> Tensor:
    if call.has(at):
        return call.tensor(at).transpose(0, 1) if batch_first else call.tensor(at)
    return torch.zeros(directions, one.shape[1], hidden, dtype=one.dtype)
