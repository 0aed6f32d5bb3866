"""PlaceResults: write a function's results into arguments, so that the caller's buffers are reused.

The kernel that computes a result gets the argument as its output. A result that no kernel computes is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from harness.compiler.graph.graph import Graph, is_variable, op_name, renamed
from harness.compiler.kernels.kernel import Kernel
from harness.compiler.kernels.rows import copy_kernel
from harness.compiler.operators.operator import Dims
from harness.compiler.passes.kernel_table import KernelTable


@tvm.transform.module_pass(opt_level=0, name="PlaceResults")
class PlaceResults:
    """Write each result into the argument whose number is in ``results``.

    For None, an argument is added after the others. Without ``results``, nothing changes.
    """

    def __init__(self, results: Sequence[int | None], table: KernelTable) -> None:
        self.results, self.table = tuple(results), table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        if not self.results:
            return module
        placer = _Placer(module, self.results, self.table)
        return placer.run()


class _Placer:
    def __init__(self, module: tvm.IRModule, results: tuple[int | None, ...], table: KernelTable) -> None:
        self.module, self.table = module, table
        self.function = module["main"]
        self.graph = Graph(self.function)
        self.values = self._fields(self.graph.result)
        if len(self.values) != len(results):
            raise ValueError(f"the function has {len(self.values)} results, {len(results)} are to be placed")
        self.params = list(self.function.params)
        self.targets = {}
        for number, (value, at) in enumerate(zip(self.values, results, strict=True)):
            if at is None:
                self.params.append(relax.Var(f"result_{number}", value.ty))
            self.targets[value] = self.params[-1] if at is None else self.params[at]

    def _fields(self, result: Any) -> list[Any]:
        definition = self.graph.definition(result)
        if not isinstance(definition, relax.Tuple):
            return [self._origin(result)]
        return [self._origin(field) for field in definition.fields]

    def _origin(self, value: Any) -> Any:
        """Return the variable behind plain renamings."""
        found = self.graph.definitions.get(value)
        return self._origin(found) if is_variable(found) else value

    def run(self) -> tvm.IRModule:
        builder = relax.BlockBuilder()
        new: dict[Any, Any] = {}
        with builder.function("main", self.params, attrs=dict(self.function.attrs or {})):
            with builder.dataflow():
                for binding in self.graph.bindings:
                    if isinstance(binding.value, relax.Tuple):
                        continue
                    origin = self.table.origins.of(binding.var)
                    value = renamed(binding.value, new)
                    target = self.targets.get(binding.var)
                    if target is not None and not self._is_in_place(binding.var, target):
                        value = self._placed(builder, value, target)
                    new[binding.var] = builder.emit(value)
                    self.table.origins.note(new[binding.var], origin)
                output = builder.emit_output(new[self.values[0]])
                self.table.origins.note(output, self.table.origins.of(self.values[0]))
            builder.emit_func_output(output)
        self.module.update_func(self.module.get_global_var("main"), builder.get()["main"])
        return self.module

    def _is_in_place(self, value: Any, target: Any) -> bool:
        """Return whether the value is the argument already, through kernels that write in place."""
        while not value.same_as(target):
            found = self.graph.definitions.get(value)
            if not isinstance(found, relax.TupleGetItem):
                return False
            call = self.graph.definition(found.tuple_value)
            if op_name(call) != "relax.call_tir_inplace":
                return False
            at = int(call.attrs.inplace_indices[found.index])
            if at < 0:
                return False
            value = call.args[1].fields[at]
        return True

    def _placed(self, builder: relax.BlockBuilder, value: Any, target: Any) -> Any:
        if op_name(value) == "relax.call_tir" and self.table.of(value) is not None:
            args = [*value.args[1].fields, target]
            return relax.op.call_tir_inplace(value.args[0], args, [len(args) - 1], value.ty)
        kernel = self._copy(value)
        function = self.table.add(self.module, kernel)
        return relax.op.call_tir_inplace(function, [builder.emit(value), target], [1], value.ty)

    def _copy(self, value: Any) -> Kernel:
        return copy_kernel(Dims().of(value), str(value.ty.dtype))
