"""A torch module compiled for this machine, as a function of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import tvm
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from tvm import relax

from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.observe.provenance import Site
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.functions import ModelFunction
from harness.protocol.schema import Precision

_numbers = itertools.count()


def compiled(
    module: nn.Module,
    example: tuple[Tensor, ...],
    dynamic: Any = None,
    precision: Precision = "fp32",
    sites: list[Site] | None = None,
) -> Callable[..., list[npt.NDArray[Any]]]:
    """Takes tensors, gives all that the module returns, in its order.

    ``dynamic`` is torch.export's; the calls of kernels are added to ``sites``.
    """
    host, ops = resolve_target("llvm"), OpTable()
    imported = import_function(ModelFunction("main", module.eval(), example, dynamic), ops)
    recipe = Recipe(host.profile, precision, f"model{next(_numbers)}_", ops, sites=[] if sites is None else sites)
    function = relax.VirtualMachine(lower(imported, tvm_target(host), recipe), tvm.cpu())["main"]

    def call(*inputs: Tensor) -> list[npt.NDArray[Any]]:
        given = function(*(tvm.runtime.tensor(tensor.numpy()) for tensor in inputs))
        return [output.numpy() for output in (list(given) if isinstance(given, tvm.ir.Array) else [given])]

    return call


def answers(module: nn.Module, *inputs: Tensor) -> list[npt.NDArray[Any]]:
    """What torch says, in the same form."""
    return [tensor.numpy() for tensor in pytree.tree_leaves(module(*inputs))]
