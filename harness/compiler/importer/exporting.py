"""Export a torch module as a graph. TVM compiles the graph, and PyTorch runs it when the two are compared."""

from __future__ import annotations

import os
import re
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

import harness
from harness.compiler.errors import CannotCompile, first_words
from harness.compiler.importer.bags import PlainBags
from harness.compiler.importer.complexes import split_state
from harness.compiler.importer.constants import with_constants
from harness.compiler.importer.decompositions import decompositions
from harness.compiler.importer.halves import widened
from harness.compiler.importer.recurrent_op import KeepRecurrent
from harness.models.functions import ModelFunction

KEPT_WHOLE = (
    torch.ops.aten.scaled_dot_product_attention.default,
    torch.ops.aten.linear.default,
    torch.ops.aten.layer_norm.default,
)
"""Operators that torch would decompose, but that a pattern or TVM handles better whole."""


RECURRENT_WEIGHTS = r"The tensor attributes .*_flat_weights"
"""The beginning of torch.export's warning about torch's own recurrent layers, which keep a second list of their
weights."""

OWN = tuple(f"{Path(str(module.__file__)).parent}{os.sep}" for module in (torch, harness))
"""The folders of code that is not the model's."""
SUGGESTION = re.compile(r"torch\._check\(.*\)")
"""What torch proposes for sizes that depend on values."""


def exported(function: ModelFunction) -> ExportedProgram:
    """Return the function's graph after torch's decompositions. Raises CannotCompile if torch cannot export it."""
    try:
        with torch.no_grad(), KeepRecurrent(), PlainBags(), warnings.catch_warnings():
            # A user can do nothing about this warning, and no layer is exported differently.
            warnings.filterwarnings("ignore", RECURRENT_WEIGHTS)
            program = torch.export.export(
                function.module.eval(), function.example_inputs, dynamic_shapes=function.dynamic_shapes, strict=False
            )
    except Exception as error:  # torch.export raises dozens of kinds, from the model's own code too
        raise _refusal(function.name, error) from error
    table = decompositions()
    for kept in KEPT_WHOLE:
        table.pop(kept, None)
    program = program.run_decompositions(table)
    # Results that are written in place have the types of the caller's buffers.
    return with_constants(program if function.results else widened(split_state(program)))


def _refusal(name: str, error: Exception) -> CannotCompile:
    """Return the error of a module that torch cannot export, with the model's own line that is to blame."""
    message = f"torch.export cannot take {name}: {first_words(error)}{_users_line(error)}"
    if not isinstance(error, GuardOnDataDependentSymNode):
        return CannotCompile(message)
    proposed = SUGGESTION.search(str(error))
    check = proposed.group() if proposed else "torch._check(n <= 8)"
    return CannotCompile(
        message,
        cure=f"let torch.where choose instead of if; or promise what is always true before that line: {check}",
    )


def _users_line(error: BaseException) -> str:
    """Return the innermost line of an error's stack that is neither torch's nor ours; empty if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(OWN) and not frame.filename.startswith("<")]
    if not theirs:
        return ""
    last = theirs[-1]
    return f', in "{last.filename}", line {last.lineno}, in {last.name}: {last.line}'


def graph_arguments(program: ExportedProgram, inputs: Sequence[Tensor]) -> list[Any]:
    """Return the arguments of the program's graph: the inputs, between its parameters, buffers and constants."""
    state = {**program.state_dict, **program.constants}
    users = iter(inputs)
    return [
        next(users) if spec.kind == InputKind.USER_INPUT else state[str(spec.target)]
        for spec in program.graph_signature.input_specs
    ]
