"""Constants of constants: what numpy makes of them is what torch makes of them, and nothing is left to compile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import tvm
from torch import nn
from tvm import relax

from harness.compiler.graph.graph import Graph, op_name
from harness.compiler.importer.importing import import_function
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.p11_fold_arithmetic import FoldArithmetic
from harness.models.functions import ModelFunction

pytestmark = pytest.mark.compiler


def operators(module: tvm.IRModule) -> list[str]:
    return [name for binding in Graph(module["main"]).bindings if (name := op_name(binding.value))]


def test_what_a_batch_norm_makes_of_its_weights_is_done_before_anything_is_compiled() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        for parameter in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert parameter is not None
            parameter.uniform_(0.5, 2.0)
    example = torch.zeros(1, 3, 4, 4)
    imported = import_function(ModelFunction("norm", norm.eval(), (example,), None), OpTable())
    assert {"relax.expand_dims", "relax.sqrt"} < set(operators(imported))
    folded = tvm.transform.Sequential([FoldArithmetic()])(imported)
    assert operators(folded) == ["relax.subtract", "relax.divide", "relax.multiply", "relax.add"]
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4), dtype=np.float32)
    function = relax.VirtualMachine(tvm.compile(folded, tvm.target.Target("llvm")), tvm.cpu())["main"]
    ours = function(tvm.runtime.tensor(x)).numpy()
    with torch.no_grad():
        np.testing.assert_allclose(ours, norm(torch.from_numpy(x)).numpy(), rtol=1e-6, atol=1e-6)
