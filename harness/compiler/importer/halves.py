"""Compute modules of half types in float32.

TVM's importer mixes the types of a product and its bias, our kernels take float32, and most CPUs that we compile for
have no instructions for float16 or bfloat16. So every value of these types becomes a float32 where the graph is
imported: weights are converted once, inputs first, results last. Answers are closer to the exact ones than torch's.
``--precision fp16`` decides how wide the weights are stored.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

HALVES = frozenset({torch.float16, torch.bfloat16})
CONVERT = torch.ops.aten._to_copy.default


def widened(program: ExportedProgram) -> ExportedProgram:
    """Return the program with float32 in place of half types, except for its inputs and results."""
    graph = program.graph
    if not any(_is_torchs(node) and _has_halves(node.meta.get("val")) for node in graph.nodes):
        return program
    results = _results(program)
    for node in graph.nodes:
        if node.op != "placeholder":
            node.args, node.kwargs = pytree.tree_map(_wider_type, (node.args, node.kwargs))
            node.meta["val"] = pytree.tree_map(_wider, node.meta.get("val"))
    _widen_state(program)
    _convert_inputs(program)
    _convert_results(program, results)
    program.graph_module.recompile()
    return program


def _is_torchs(node: fx.Node) -> bool:
    """Return whether a value is an input or an operator's of torch. Operators of ours give the types that they name."""
    return node.op == "placeholder" or str(node.target).startswith("aten.")


def _has_halves(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.dtype in HALVES for leaf in pytree.tree_leaves(value))


def _wider_type(argument: Any) -> Any:
    return torch.float32 if isinstance(argument, torch.dtype) and argument in HALVES else argument


def _wider(value: Any) -> Any:
    # The graph's values are fake tensors: only their type changes.
    return value.float() if isinstance(value, Tensor) and value.dtype in HALVES else value


def _results(program: ExportedProgram) -> dict[int, torch.dtype]:
    """Return the half types of the program's results, by the results' numbers."""
    [output] = program.graph.find_nodes(op="output")
    values = [node.meta.get("val") if isinstance(node, fx.Node) else None for node in output.args[0]]
    return {at: value.dtype for at, value in enumerate(values) if isinstance(value, Tensor) and value.dtype in HALVES}


def _widen_state(program: ExportedProgram) -> None:
    nodes = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            continue
        for state in (program.state_dict, program.constants):
            value = state.get(str(spec.target))
            if isinstance(value, Tensor) and value.dtype in HALVES:
                wide = value.detach().float()
                parameter = isinstance(value, torch.nn.Parameter)
                state[str(spec.target)] = torch.nn.Parameter(wide, False) if parameter else wide
        node = nodes[spec.arg.name]
        node.meta["val"] = _wider(node.meta["val"])


def _convert_inputs(program: ExportedProgram) -> None:
    users = set(program.graph_signature.user_inputs)
    for node in program.graph.find_nodes(op="placeholder"):
        if node.name in users and _has_halves(node.meta["val"]):
            after = next(other for other in program.graph.nodes if other.op != "placeholder")
            with program.graph.inserting_before(after):
                wide = program.graph.call_function(CONVERT, (node,), {"dtype": torch.float32})
            wide.meta["val"] = _wider(node.meta["val"])
            node.replace_all_uses_with(wide, delete_user_cb=lambda user, wide=wide: user is not wide)


def _convert_results(program: ExportedProgram, results: dict[int, torch.dtype]) -> None:
    [output] = program.graph.find_nodes(op="output")
    made = list(output.args[0])
    for at, dtype in results.items():
        if program.graph_signature.output_specs[at].kind != OutputKind.USER_OUTPUT:
            continue
        with program.graph.inserting_before(output):
            narrow = program.graph.call_function(CONVERT, (made[at],), {"dtype": dtype})
        narrow.meta["val"] = made[at].meta["val"].to(dtype)
        made[at] = narrow
        program.graph_signature.output_specs[at].arg = TensorArgument(name=narrow.name)
    output.args = (tuple(made),)
