"""torch module → torch.export → Relax → machine code, one function at a time."""

from __future__ import annotations

from typing import Any

import torch
import tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

from harness.compiler.operators import converters
from harness.compiler.passes import pipeline
from harness.compiler.profiles import Profile
from harness.compiler.targets import CompileTarget
from harness.models.spec import ModelFunction, ModelSpec


def import_function(spec: ModelSpec, function: ModelFunction, profile: Profile) -> tvm.IRModule:
    """The function as a Relax module with one function ``main`` that returns one tensor."""
    with torch.no_grad():
        exported = torch.export.export(
            function.module.eval(), function.example_inputs, dynamic_shapes=function.dynamic_shapes, strict=False
        )
    module = from_exported_program(
        exported,
        unwrap_unit_return_tuple=True,
        custom_convert_map=converters(profile, encoder_capacity=spec.encoder_capacity),
    )
    return relax.transform.DecomposeOpsForInference()(module)


def lower(module: tvm.IRModule, target: tvm.target.Target, profile: Profile, prefix: str) -> Any:
    """A ``tvm.runtime.Executable`` whose symbols and registration carry ``prefix``."""
    return tvm.compile(module.with_attr("system_lib_prefix", prefix), target, relax_pipeline=pipeline(target, profile))


def tvm_target(target: CompileTarget) -> tvm.target.Target:
    """TVM's own target object; a bare dict is refused by 0.27."""
    return tvm.target.Target(target.tvm)
