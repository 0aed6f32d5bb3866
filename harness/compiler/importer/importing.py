"""Import a torch module as a Relax module, with our own importer entries where TVM's are missing or wrong."""

from __future__ import annotations

import tvm
from torch.export import ExportedProgram
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

from harness.compiler.importer.converters import converters
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.origins import traced
from harness.compiler.importer.promotion import promoted
from harness.compiler.importer.unsupported import guarded
from harness.compiler.operators.operator import OpTable
from harness.models.functions import ModelFunction


def import_function(function: ModelFunction, ops: OpTable, program: ExportedProgram | None = None) -> tvm.IRModule:
    """Return the function as a Relax module with one function ``main``.

    Its fused operators and the origins of its values go into ``ops``. ``program`` is the function's graph if it was
    exported before. Raises CannotCompile if torch cannot export the module, and UnsupportedOperator if TVM has no form
    of an operator.
    """
    program = program or exported(function)
    module = from_exported_program(
        program,
        unwrap_unit_return_tuple=True,
        run_ep_decomposition=False,
        custom_convert_map=guarded(program.graph, promoted(traced(program, converters(ops), ops.origins))),
    )
    return relax.transform.DecomposeOpsForInference()(module)
