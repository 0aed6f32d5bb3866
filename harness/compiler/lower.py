"""Compile a Relax module to machine code, one function at a time."""

from __future__ import annotations

from typing import Any

import tvm

from harness.compiler.errors import CannotCompile, first_words
from harness.compiler.kernels.kernel import Kernel, prim_func
from harness.compiler.passes.pipeline import Recipe, pipeline
from harness.compiler.schedule.tuning import Tuning
from harness.compiler.settings import LOOPS, PASS_CONFIG
from harness.compiler.targets import CompileTarget
from harness.core.errors import HarnessError


def lower(module: tvm.IRModule, target: tvm.target.Target, recipe: Recipe, tuning: Tuning | None = None) -> Any:
    """Return a ``tvm.runtime.Executable`` whose symbols and registration have the recipe's prefix.

    ``tuning`` searches schedules for functions without a template, for a target that this machine runs. Raises
    TuningBusy, and CannotCompile if one of TVM's passes fails on the module.
    """
    named = module.with_attr("system_lib_prefix", recipe.prefix)
    try:
        with tvm.transform.PassContext(config=PASS_CONFIG):
            return tvm.compile(named, target, relax_pipeline=pipeline(target, recipe, tuning), tir_pipeline=LOOPS)
    except HarnessError:
        raise
    except Exception as error:  # each pass may raise anything
        reason = f"{type(error).__name__}: {first_words(error)}"
        raise CannotCompile(f"TVM cannot compile {recipe.prefix.rstrip('_')}: {reason}") from error


def search(module: tvm.IRModule, target: tvm.target.Target, recipe: Recipe, tuning: Tuning | None) -> None:
    """Measure the schedules that ``tuning`` lacks for the module, without compiling it. Raises TuningBusy."""
    with tvm.transform.PassContext(config=PASS_CONFIG):
        pipeline(target, recipe, tuning)(module.with_attr("system_lib_prefix", recipe.prefix))


def compile_kernel(kernel: Kernel, target: tvm.target.Target) -> Any:
    """Compile one kernel as the function ``kernel`` of its parameters, for tests and measurements."""
    function = prim_func(kernel).with_attr("global_symbol", "kernel")
    with tvm.transform.PassContext(config=PASS_CONFIG):
        return tvm.compile(tvm.IRModule({"kernel": function}), target, tir_pipeline=LOOPS)


def tvm_target(target: CompileTarget) -> tvm.target.Target:
    """Return TVM's own target object; 0.27 refuses a bare dict."""
    return tvm.target.Target(target.tvm)
