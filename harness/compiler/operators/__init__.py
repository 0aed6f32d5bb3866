"""Define the fused operators, one file each: attributes, pattern, lowering. ``operator.py`` defines the base class.

:func:`operators` is the registry. FusePatterns and PackWeights loop over it and name no operator.
"""

from __future__ import annotations

from harness.compiler.errors import BadExtension
from harness.compiler.extensions import OPERATORS, load
from harness.compiler.operators.append_and_attend import AppendAndAttendOp
from harness.compiler.operators.argmax import ArgmaxOp
from harness.compiler.operators.attend_causally import AttendCausallyOp
from harness.compiler.operators.attend_memory import AttendMemoryOp
from harness.compiler.operators.attention import AttentionOp, DotAttentionOp
from harness.compiler.operators.batch_product import BatchProductOp
from harness.compiler.operators.convolution import ConvolutionOp
from harness.compiler.operators.embedding import EmbeddingOp
from harness.compiler.operators.norm import NormOp
from harness.compiler.operators.operator import FusedOperator
from harness.compiler.operators.product import ProductOp
from harness.compiler.operators.recurrence import RecurrenceOp
from harness.compiler.operators.sort import SortOp
from harness.compiler.operators.store_memory import StoreMemoryOp
from harness.compiler.operators.transposed import TransposedOp
from harness.core.plugins import entries

BUILT_IN: tuple[type[FusedOperator], ...] = (
    AttentionOp,
    RecurrenceOp,
    ConvolutionOp,
    TransposedOp,
    ProductOp,
    EmbeddingOp,
    ArgmaxOp,
    NormOp,
    BatchProductOp,
    # These have no pattern: the importer makes them from torch's operators.
    DotAttentionOp,
    AppendAndAttendOp,
    AttendMemoryOp,
    AttendCausallyOp,
    StoreMemoryOp,
    SortOp,
)
"""The operators in the order in which patterns are tried. The first match wins, so larger patterns come first."""

_registered: list[type[FusedOperator]] = []


def register(operator: type[FusedOperator]) -> type[FusedOperator]:
    """Add an operator before all others, for everything that this process compiles from now on.

    Archives are compiled by a worker process. A package adds an operator there by an entry point of the group
    ``harness.operators``.
    """
    _registered.insert(0, operator)
    return operator


def operators() -> tuple[type[FusedOperator], ...]:
    """Return all operators in the order in which their patterns are tried: added ones before the built-in ones.

    Raises BadExtension if an installed package offers something else.
    """
    return (*_registered, *_installed(), *BUILT_IN)


def _installed() -> list[type[FusedOperator]]:
    found = []
    for entry in entries(OPERATORS):
        operator = load(entry)
        if not (isinstance(operator, type) and issubclass(operator, FusedOperator)):
            raise BadExtension(entry, "is no FusedOperator")
        found.append(operator)
    return found
