"""Define the smallest possible model, for trying a toolchain: ``main(x float32[1]) = x + 1``."""

from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R


@I.ir_module
class Smoke:
    @R.function
    def main(x: R.Tensor((1,), "float32")) -> R.Tensor((1,), "float32"):
        y: R.Tensor((1,), "float32") = R.add(x, R.const(1.0, "float32"))
        return y
