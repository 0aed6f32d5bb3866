"""Compute what depends on weights alone once, by PyTorch, before anything is compiled.

Such are a weight's norm, positions behind their projection, masks, and tables of buckets. Left in the graph, TVM would
compile each of them for the machine that compiles, also where a kernel for another processor had become a part of it,
and patterns would not see a constant in it. Layouts of weights stay: patterns look through them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.utils import _pytree as pytree

LAYOUTS = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("permute", "view", "reshape", "unsqueeze", "t", "expand", "alias", "detach", "clone", "_to_copy")
) | {torch.ops.aten.transpose.int, torch.ops.aten.squeeze.dim, torch.ops.aten.squeeze.dims}
"""Operators that only lay out what they take."""
GROWN = 1 << 20
"""The bytes by which a result may be larger than the weights that it is computed from. Larger ones stay operators."""
PREFIX = "folded_"

State = dict[str, Tensor]


def with_constants(program: ExportedProgram) -> ExportedProgram:
    """Return the program with constants instead of operators that depend on its weights alone."""
    state = constant_state(program)
    fixed = _fixed(program.graph, state)
    ends = _ends(program.graph, fixed, state)
    values: dict[fx.Node, Any] = {}
    for number, node in enumerate(ends):
        value = _value(node, state, values)
        if _fits(value, node, state):
            constant = value.detach().contiguous()
            # Others that are computed later may read it.
            state[replace_by_constant(program, node, constant, f"{PREFIX}{number}")] = constant
    for node in reversed(list(program.graph.nodes)):
        if node in fixed and not node.users:
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


def constant_state(program: ExportedProgram) -> State:
    """Return the tensors of the program by the names of their placeholders, without those that it writes."""
    written = {*program.graph_signature.buffers_to_mutate.values()}
    found: State = {}
    for spec in program.graph_signature.input_specs:
        target = str(spec.target)
        value = program.state_dict.get(target, program.constants.get(target))
        if spec.kind != InputKind.USER_INPUT and isinstance(value, Tensor) and target not in written:
            found[spec.arg.name] = value
    return found


def _fixed(graph: fx.Graph, state: State) -> set[fx.Node]:
    """Return the operators whose values are the same in every call."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if _is_pure(node) and all(one in found or one.name in state for one in inputs):
            found.add(node)
    return found


def _is_pure(node: fx.Node) -> bool:
    """Return whether a node is an operator of torch's with results that depend on its arguments alone."""
    if node.op != "call_function" or any(isinstance(leaf, torch.SymInt) for leaf in _leaves(node)):
        return False
    if node.target is operator.getitem:
        return True
    if not isinstance(node.target, torch._ops.OpOverload) or node.target.namespace != "aten":
        return False
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    return not random and not node.target._schema.is_mutable


def _leaves(node: fx.Node) -> list[Any]:
    return [
        extent
        for value in pytree.tree_leaves((node.meta.get("val"), node.args, node.kwargs))
        for extent in (value.shape if isinstance(value, Tensor) else [value])
    ]


def _ends(graph: fx.Graph, fixed: set[fx.Node], state: State) -> list[fx.Node]:
    """Return the operators to compute: what others read, without layouts, which stay behind them."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node not in fixed or all(user in fixed for user in node.users):
            continue
        while node in fixed and node.target in LAYOUTS:
            node = node.all_input_nodes[0]
        if node in fixed and isinstance(node.meta.get("val"), Tensor):
            found[node] = None
    return list(found)


def _value(node: fx.Node, state: State, values: dict[fx.Node, Any]) -> Any:
    """Return the value of a fixed node. Those of the nodes before it are kept, too."""
    for one in _before(node, values):
        if one.name in state:
            values[one] = state[one.name]
            continue
        args, kwargs = pytree.tree_map_only(fx.Node, values.__getitem__, (tuple(one.args), dict(one.kwargs)))
        with torch.no_grad():
            values[one] = one.target(*args, **kwargs)  # type: ignore[operator]
    return values[node]


def _before(node: fx.Node, values: dict[fx.Node, Any]) -> Iterator[fx.Node]:
    """Yield the nodes that a node's value needs and that have none yet, in the order of their computation."""
    waiting, opened = [node], set[fx.Node]()
    while waiting:
        one = waiting[-1]
        missing = [] if one in opened else [other for other in one.all_input_nodes if other not in values]
        opened.add(one)
        if missing:
            waiting += missing
            continue
        waiting.pop()
        if one not in values:
            yield one


def _fits(value: Any, node: fx.Node, state: State) -> bool:
    """Return whether a constant may take the place of the node: real numbers, not much larger than the weights."""
    if not isinstance(value, Tensor) or value.is_complex() or value.layout != torch.strided:
        return False
    weights = sum(state[one.name].nbytes for one in _before(node, {}) if one.name in state)
    return value.nbytes <= weights + GROWN


def replace_by_constant(program: ExportedProgram, node: fx.Node, value: Tensor, name: str) -> str:
    """Let a constant take the place of the node; return the name of its placeholder."""
    first = next(iter(program.graph.nodes))
    with program.graph.inserting_before(first):
        constant = program.graph.placeholder(name)
    constant.meta["val"] = node.meta["val"]
    spec = InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(constant.name), constant.name, None)
    program.graph_signature.input_specs.insert(0, spec)
    program.constants[constant.name] = value
    node.replace_all_uses_with(constant)
    return constant.name
