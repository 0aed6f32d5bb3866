"""MergeKernels: make one kernel of a function that only calls kernels of ours.

A decoder's step is some twenty kernels of a few microseconds each. Merged, it costs one call, and its intermediate
values are in one place. Only functions of static shapes are merged, since their kernels are small.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import tvm
from tvm import relax

from harness.compiler.graph.graph import Graph, is_constant, is_variable, op_name, static_shape
from harness.compiler.graph.origins import completed, result_origin
from harness.compiler.kernels import vector
from harness.compiler.kernels.instrument import emit, part_name
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.scratch import scope, scratch
from harness.compiler.passes.kernel_table import KernelTable, Part

NAME = "kernels"
"""The name of the merged kernel."""


@tvm.transform.module_pass(opt_level=0, name="MergeKernels")
class MergeKernels:
    """Merge the kernels of ``main``."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        merger = _Merger(Graph(module["main"]), self.table)
        return merger.run(module) if merger.possible() else module


class _Merger:
    def __init__(self, graph: Graph, table: KernelTable) -> None:
        self.graph, self.table = graph, table
        self.constants: list[Any] = []
        self.steps: list[tuple[Kernel, list[Any], Any]] = []
        """Each kernel, its arguments and the variable of its call."""
        self.views: dict[Any, Any] = {}

    def possible(self) -> bool:
        """Return whether everything is a kernel of static shape, a view, or a renaming."""
        if any(static_shape(param) is None for param in self.graph.function.params):
            return False
        for binding in self.graph.bindings:
            value = binding.value
            kernel = self.table.of(value)
            if kernel is not None and kernel.is_static and not kernel.alone:
                self._add(kernel, binding.var, value)
            elif op_name(value) == "relax.reshape" and static_shape(value) is not None:
                self.views[binding.var] = value.args[0]
            elif not (is_variable(value) or isinstance(value, relax.TupleGetItem)):
                return False
        return bool(self.steps) and is_variable(self.graph.result)

    def _add(self, kernel: Kernel, var: Any, call: Any) -> None:
        args = list(call.args[1].fields)
        for arg in args:
            if is_constant(arg) and not any(arg.same_as(known) for known in self.constants):
                self.constants.append(arg)
        self.steps.append((kernel, args, var))

    def run(self, module: tvm.IRModule) -> tvm.IRModule:
        params = list(self.graph.function.params)
        written = self._written()
        result = self._alias(self.graph.result)
        fresh = not any(result.same_as(param) for param in params)
        declared = [
            Param(f"p{i}", static_shape(p) or (), str(p.ty.dtype), "inout" if i in written else "input")
            for i, p in enumerate(params)
        ]
        declared += [
            Param(f"w{i}", tuple(c.value.shape), str(c.ty.dtype), "weight") for i, c in enumerate(self.constants)
        ]
        if fresh:
            declared.append(Param("result", static_shape(result) or (), str(result.ty.dtype), "output"))
        kernel = Kernel(
            NAME, tuple(declared), lambda buffers: self._emit(buffers, result if fresh else None), merged=True
        )
        merged = tvm.IRModule({})
        function = self.table.add(merged, kernel)
        known = completed(self.graph, self.table.origins)
        self.table.parts[kernel.name] = [
            Part(step, result_origin(self.graph, var, known)) for step, _, var in self.steps
        ]
        builder = relax.BlockBuilder()
        args = [*params, *self.constants]
        # A written argument must be a result of the call, or the call would seem to have no effect on it.
        outputs = [-1] if fresh else []
        outputs += sorted(written, key=lambda i: not params[i].same_as(result))
        types = [result.ty if at < 0 else params[at].ty for at in outputs]
        with builder.function("main", params, attrs=dict(self.graph.function.attrs or {})):
            with builder.dataflow():
                if fresh and len(outputs) == 1:
                    call = relax.call_tir(function, args, result.ty)
                else:
                    call = relax.op.call_tir_inplace(function, args, outputs, types[0] if len(types) == 1 else types)
                value = builder.emit(call)
                output = builder.emit_output(value if len(types) == 1 else relax.TupleGetItem(value, 0))
            builder.emit_func_output(output)
        merged["main"] = builder.get()["main"]
        return merged.with_attrs(module.attrs) if module.attrs else merged

    def _alias(self, value: Any) -> Any:
        """Return the argument that contains a value, or the variable of the kernel that computes it."""
        while True:
            found: Any = self.graph.definitions.get(value)
            if is_variable(found):
                value = found
            elif isinstance(found, relax.TupleGetItem):
                call = self.graph.definition(found.tuple_value)
                at = int(call.attrs.inplace_indices[found.index])
                if at < 0:
                    return value
                value = call.args[1].fields[at]
            elif op_name(found) == "relax.call_tir_inplace" and len(found.attrs.inplace_indices) == 1:
                value = found.args[1].fields[int(found.attrs.inplace_indices[0])]
            else:
                return value

    def _written(self) -> set[int]:
        """Return the numbers of the arguments that kernels write into."""
        params = list(self.graph.function.params)
        found = set()
        for _, args, var in self.steps:
            call = self.graph.definitions[var]
            if op_name(call) != "relax.call_tir_inplace":
                continue
            for at in call.attrs.inplace_indices:
                target = None if int(at) < 0 else self._alias(args[int(at)])
                found |= {i for i, p in enumerate(params) if target is not None and p.same_as(target)}
        return found

    def _emit(self, buffers: Buffers, result: Any) -> None:
        known: dict[Any, Any] = {p: buffers[f"p{i}"] for i, p in enumerate(self.graph.function.params)}
        if result is not None:
            known[result] = buffers["result"]

        def lookup(value: Any) -> Any:
            if is_constant(value):
                at = next(i for i, constant in enumerate(self.constants) if constant.same_as(value))
                return buffers[f"w{at}"]
            origin = self._alias(value)
            if origin not in known and origin in self.views:
                known[origin] = vector.flat(lookup(self.views[origin]), static_shape(origin) or ())
            return known[origin]

        last_uses = self._last_uses()
        free: dict[tuple[Any, str], list[Any]] = defaultdict(list)
        for number, (kernel, args, var) in enumerate(self.steps):
            values = dict(zip((p.name for p in kernel.params), (lookup(arg) for arg in args), strict=False))
            for param in kernel.params:
                if param.name not in values:
                    fresh = self._fresh_output(var)
                    if fresh not in known:
                        spare = free[param.shape, param.dtype]
                        known[fresh] = spare.pop() if spare else scratch(param.shape, param.dtype)
                    values[param.name] = known[fresh]
            instrumentation, name = self.table.instrumentation, part_name(NAME, number)
            if instrumentation is not None:
                emit(instrumentation.begin(name, kernel.cost_of(values)))
            with scope():
                kernel.emit(values)
            if instrumentation is not None:
                emit(instrumentation.end_part(name, [values[p.name] for p in kernel.params if p.role == "output"]))
            for value in last_uses.get(number, ()):
                buffer = known[value]
                free[tuple(int(extent) for extent in buffer.shape), str(buffer.dtype)].append(buffer)

    def _last_uses(self) -> dict[int, list[Any]]:
        """Return the fresh values that no later step reads, for each step, without the result."""
        last: dict[Any, int] = {}
        for number, (_, args, _) in enumerate(self.steps):
            for arg in args:
                if not is_constant(arg):
                    last[self._memory(arg)] = number
        fresh = {self._fresh_output(var) for kernel, args, var in self.steps if len(args) < len(kernel.params)}
        kept = self._memory(self.graph.result)
        found: dict[int, list[Any]] = defaultdict(list)
        for value, number in last.items():
            if value in fresh and not value.same_as(kept):
                found[number].append(value)
        return found

    def _memory(self, value: Any) -> Any:
        """Return the argument or the fresh value whose memory a value is, behind views."""
        origin = self._alias(value)
        return self._memory(self.views[origin]) if origin in self.views else origin

    def _fresh_output(self, var: Any) -> Any:
        """Return the variable of a kernel's new output: the call's own, or the field of its tuple."""
        call = self.graph.definitions[var]
        if op_name(call) == "relax.call_tir":
            return var
        at = [int(index) for index in call.attrs.inplace_indices].index(-1)
        return next(
            binding.var
            for binding in self.graph.bindings
            if isinstance(binding.value, relax.TupleGetItem)
            and binding.value.tuple_value.same_as(var)
            and binding.value.index == at
        )
