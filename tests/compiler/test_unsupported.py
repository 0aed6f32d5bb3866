"""Models that cannot be compiled: told with the module and the line that is to blame."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F
from tvm import relax

from harness.compiler.errors import CannotCompile, UnsupportedOperator
from harness.compiler.importer.importing import import_function
from harness.compiler.importer.promotion import promoted
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models import ModelSpec
from harness.models.tensor.flat import compiled_function, flattened

pytestmark = pytest.mark.compiler


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.i0(x)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x


class Deep(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), inner])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def compile_inner(inner: nn.Module) -> None:
    example = {"x": torch.zeros(2, 4)}
    spec = ModelSpec(name="deep", build=lambda: Deep(inner), example_inputs=example, items={"a": example})
    import_function(compiled_function(spec, flattened(spec)), OpTable())


def test_an_unknown_operator_is_named_with_its_module_and_line() -> None:
    with pytest.raises(UnsupportedOperator) as told:
        compile_inner(Bessel())
    message = str(told.value)
    assert "aten.i0" in message
    assert "in layers.1 (Bessel)" in message
    assert "test_unsupported.py" in message
    assert "torch.i0(x)" in message


def test_control_flow_on_values_cannot_be_exported() -> None:
    with pytest.raises(CannotCompile, match=r"torch\.export cannot take deep: .*data-dependent") as told:
        compile_inner(Branches())
    assert not isinstance(told.value, UnsupportedOperator)


def test_a_dimension_that_the_model_fixes_is_named() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.ones(4, 3)

    rows = {"x": {0: Dim("rows", min=2, max=8)}}
    example = {"x": torch.zeros(4, 3)}
    spec = ModelSpec(name="fixed", build=Fixed, example_inputs=example, items={"a": example}, dynamic_shapes=rows)
    with pytest.raises(CannotCompile, match=r"You marked rows as dynamic but your code specialized it .*\(4\)"):
        import_function(compiled_function(spec, flattened(spec)), OpTable())


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


NO_FORM: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "random": (lambda x: x + torch.randn_like(x), r"aten\.randn_like.* draws random numbers", "as one of its inputs"),
    "dropout": (lambda x: F.dropout(x, 0.5, training=True), "draws random numbers", "as one of its inputs"),
    "size": (lambda x: torch.nonzero(x > 0), r"size of what aten\.nonzero.* depends on the values", r"torch\.where"),
    "mask": (lambda x: x[x > 0], "size of what .* depends on the values", r"torch\.where"),
    "number": (
        lambda x: x[: int(x[0, 0])],
        r"data-dependent.*test_unsupported\.py.*int\(x\[0, 0\]\)",
        r"torch\._check",
    ),
    "complex": (
        lambda x: torch.fft.fft(x).cos().abs(),
        r"no form of aten\.cos.* for complex numbers",
        "other operators",
    ),
    "complex result": (lambda x: torch.fft.fft(x), "returns complex numbers", r"view_as_real"),
    "several values": (
        lambda x: x.index_put((x > 0,), x.sum(0)[:1].expand(int((x == 0).numel()))),
        r"torch\.where",
        "other operators",
    ),
}


@pytest.mark.parametrize("name", NO_FORM)
def test_what_has_no_form_is_refused_in_one_line_with_what_to_do(name: str) -> None:
    function, reason, cure = NO_FORM[name]
    with pytest.raises(CannotCompile, match=reason) as told:
        compile_inner(Applied(function))
    message, _, rest = str(told.value).partition("\n")
    assert re.search(cure, rest)
    assert "\n" not in rest, message


def test_dropout_that_is_off_is_no_reason() -> None:
    compile_inner(nn.Dropout(0.5))


def test_a_type_that_got_lost_is_refused() -> None:
    program = torch.export.export(nn.Sigmoid(), (torch.zeros(2),), strict=False)
    [node] = [node for node in program.graph.nodes if node.op == "call_function"]
    whole = relax.Var("whole", relax.TensorType([2], "int64"))
    call = promoted({"sigmoid.default": lambda _node, _importer: whole})["sigmoid.default"]
    with pytest.raises(UnsupportedOperator, match=r"TVM makes int64 of aten\.sigmoid.*, torch float32"):
        call(node, SimpleNamespace(env={}))


def test_what_tvm_stumbles_over_later_is_told_too() -> None:
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType([3], "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(relax.op.sort(x)))
        builder.emit_func_output(output)
    host = resolve_target("llvm")
    with pytest.raises(CannotCompile, match=r"TVM cannot compile odd: \w*Error: "):
        lower(builder.get(), tvm_target(host), Recipe(host.profile, "fp32", "odd_", OpTable()))
