"""Read the axes of a block of an S-TIR function, and how they run through the tensors that it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import tvm
from tvm import s_tir, tirx

Lie = Literal["absent", "contiguous", "strided"]
"""How an axis runs through a tensor: not at all, through neighbours, or through elements that lie apart."""

REDUCTION = 2
"""TIR's number for the kind of an axis over which a block reduces."""


class Unproven(Exception):
    """A block has a form that the schedules cannot handle. It keeps its loops."""


@dataclass(frozen=True)
class Axis:
    """Describe an axis. ``extent`` is an int, or TIR's expression if it is known only when the function runs."""

    variable: Any
    extent: Any
    is_reduction: bool


@dataclass(frozen=True)
class Access:
    """Hold one tensor, and the index of the one element that an instance of the block reads or writes there."""

    buffer: Any
    indices: tuple[Any, ...]

    def lie(self, axis: Axis) -> Lie:
        """Return how the axis runs through the tensor. Raises Unproven if the index is not linear in it."""
        factors = [coefficient(index, axis.variable) for index in self.indices]
        if not any(factors):
            return "absent"
        return "contiguous" if factors[-1] == 1 and not any(factors[:-1]) else "strided"


@dataclass(frozen=True)
class Block:
    """Describe a block whose loops are exactly its axes, in their order."""

    name: str
    axes: tuple[Axis, ...]
    reads: tuple[Access, ...]
    write: Access
    operators: frozenset[str]
    """The names of the TIR operators that the block's statement calls."""
    is_load: bool
    """True if it only copies elements of another tensor."""

    @property
    def spatial(self) -> tuple[Axis, ...]:
        return tuple(axis for axis in self.axes if not axis.is_reduction)

    @property
    def reductions(self) -> tuple[Axis, ...]:
        return tuple(axis for axis in self.axes if axis.is_reduction)

    @property
    def accesses(self) -> tuple[Access, ...]:
        return (*self.reads, self.write)


def read_block(schedule: s_tir.Schedule, name: str) -> Block:
    """Return the block of that name. Raises Unproven."""
    rv = schedule.get_sblock(name)
    block = schedule.get(rv)
    loops = [schedule.get(loop) for loop in schedule.get_loops(rv)]
    if len(loops) != len(block.iter_vars):
        raise Unproven(f"{name}: its axes are not its loops")
    if len(block.writes) != 1:
        raise Unproven(f"{name}: it writes several tensors")
    axes = tuple(
        Axis(iter_var.var, known(iter_var.dom.extent), int(iter_var.iter_type) == REDUCTION)
        for iter_var in block.iter_vars
    )
    reads = tuple(_access(region) for region in block.reads)
    is_load = isinstance(getattr(block.body, "value", None), tvm.ir.expr.TensorLoad)
    return Block(name, axes, reads, _access(block.writes[0]), operators_of(block.body), is_load)


def block_names(schedule: s_tir.Schedule) -> list[str]:
    """Return the blocks of a function, in their order."""
    children = schedule.get_child_blocks(schedule.get_sblock("root"))
    return [str(schedule.get(child).name_hint) for child in children]


def known(extent: Any) -> Any:
    """Return an extent as an int if it is one."""
    return int(extent) if isinstance(extent, tirx.IntImm) else extent


def coefficient(index: Any, variable: Any) -> int:
    """Return how far the index moves when the variable moves by one. Raises Unproven if that is not a constant."""
    parts = tvm.sym.detect_linear_equation(index, [variable])
    if not parts or not isinstance(parts[0], tirx.IntImm):
        raise Unproven(f"{index} is not linear in {variable}")
    return int(parts[0])


def same_extent(a: Any, b: Any) -> bool:
    """Return whether two extents are proven equal."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return bool(tvm.sym.Analyzer().can_prove_equal(a, b))


def operators_of(node: Any) -> frozenset[str]:
    """Return the names of the operators that a statement or expression calls."""
    found: set[str] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, tvm.ir.Call):
            found.add(str(getattr(current.op, "name", "")))
            pending += list(current.args)
            continue
        for field in ("value", "indices", "body", "a", "b", "condition", "true_value", "false_value", "seq", "cond"):
            child = getattr(current, field, None)
            if isinstance(child, (list, tuple, tvm.ir.Array)):
                pending += list(child)
            elif isinstance(child, tvm.runtime.Object):
                pending.append(child)
    return frozenset(found)


def _access(region: Any) -> Access:
    if any(known(span.extent) != 1 for span in region.region):
        raise Unproven(f"several elements of {region.source.name} at once")
    return Access(region.source, tuple(span.min for span in region.region))
