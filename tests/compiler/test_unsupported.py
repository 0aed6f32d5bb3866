"""Models that cannot be compiled: told with the module and the line that is to blame."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
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


class Waves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.fft.fft(x).real
        return result


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
        compile_inner(Waves())
    message = str(told.value)
    assert "aten._fft_r2c" in message
    assert "in layers.1 (Waves)" in message
    assert "test_unsupported.py" in message
    assert "torch.fft.fft(x).real" in message


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


def test_bags_of_other_kinds_are_named() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.EmbeddingBag(9, 4, mode="max")

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.words(x)
            return result

    example = {"x": torch.zeros(2, 3, dtype=torch.int64)}
    spec = ModelSpec(name="bag", build=Bag, example_inputs=example, items={"a": example})
    with pytest.raises(UnsupportedOperator, match=r"_embedding_bag\.default in words \(EmbeddingBag\)"):
        import_function(compiled_function(spec, flattened(spec)), OpTable())


def test_a_type_that_got_lost_is_refused() -> None:
    program = torch.export.export(nn.Sigmoid(), (torch.zeros(2),), strict=False)
    [node] = [node for node in program.graph.nodes if node.op == "call_function"]
    whole = relax.Var("whole", relax.TensorType([2], "int64"))
    call = promoted({"sigmoid.default": lambda _node, _importer: whole})["sigmoid.default"]
    with pytest.raises(UnsupportedOperator, match=r"TVM makes int64 of aten\.sigmoid.*, torch float32"):
        call(node, SimpleNamespace(env={}))


def test_sorting_is_named_though_the_importer_takes_it() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.argsort(x)

    with pytest.raises(UnsupportedOperator, match=r"no operator for aten\.sort\.default in layers\.1 \(Sorted\)"):
        compile_inner(Sorted())


def test_what_tvm_stumbles_over_later_is_told_too() -> None:
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType([3], "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(relax.op.sort(x)))
        builder.emit_func_output(output)
    host = resolve_target("llvm")
    with pytest.raises(CannotCompile, match=r"TVM cannot compile odd: \w*Error: "):
        lower(builder.get(), tvm_target(host), Recipe(host.profile, "fp32", "odd_", OpTable()))
