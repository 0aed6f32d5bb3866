"""Distances by hand, what is allowed, and layouts that are undone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from harness.compiler.importer.exporting import exported
from harness.explain.arrange import arranged
from harness.explain.errors import EPSILON, FACTOR, ULPS, allowed, distance
from harness.explain.reference import Arithmetic, run_graph
from harness.explain.rounding import Rounding
from harness.models.functions import ModelFunction

pytestmark = pytest.mark.compiler

DOUBLE = torch.float64


def test_a_distance_by_hand() -> None:
    found = distance(torch.tensor([3.0, 4.0], dtype=DOUBLE), torch.tensor([3.0, 5.0], dtype=DOUBLE))
    assert found.largest == 1
    assert found.relative == pytest.approx(1 / math.sqrt(17))
    assert found.cosine == pytest.approx(29 / (5 * math.sqrt(34)))
    assert found.snr == pytest.approx(10 * math.log10(34))


def test_what_is_not_finite_is_infinitely_far_unless_pytorch_says_it_too() -> None:
    nan, inf = float("nan"), float("inf")
    one = torch.tensor([1.0, nan, inf], dtype=DOUBLE)
    assert distance(one, one).largest == 0
    assert distance(one, torch.ones(3, dtype=DOUBLE)).largest == inf
    assert distance(torch.ones(3, dtype=DOUBLE), one).largest == inf


def test_float32s_own_error_is_what_is_allowed_and_integers_have_to_be_equal() -> None:
    reference = torch.tensor([1.0, -8.0], dtype=DOUBLE)
    assert allowed(reference) == FACTOR * ULPS * EPSILON * 8
    assert allowed(reference, reference + 0.5) == FACTOR * 0.5
    assert allowed(torch.tensor([3, 4])) == 0


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(3, 4, 3, padding=1), nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.linear(self.conv(x)).relu()
        return result


@pytest.fixture(scope="module")
def small() -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 5)
    return exported(ModelFunction("main", Small().eval(), (x,), None)), x


def test_the_graph_says_what_the_module_does_in_every_arithmetic(
    small: tuple[torch.export.ExportedProgram, torch.Tensor],
) -> None:
    program, x = small
    single, double, rounded = (run_graph(program, (x,), one, Rounding("fp16"), "main") for one in Arithmetic)
    assert [values.results[0].dtype for values in (single, double, rounded)] == [torch.float32, DOUBLE, DOUBLE]
    exact = distance(single.results[0].double(), double.results[0]).largest
    lossy = distance(rounded.results[0], double.results[0]).largest
    assert 0 < exact < 1e-6 < lossy < 1e-2


def test_nodes_compute_of_what_they_are_given(small: tuple[torch.export.ExportedProgram, torch.Tensor]) -> None:
    program, x = small
    plain = run_graph(program, (x,), Arithmetic.DOUBLE, Rounding("fp32"), "main")
    given = {"conv1d": torch.zeros(1, 4, 5)} if "conv1d" in plain.own else {"convolution": torch.zeros(1, 4, 5)}
    found = run_graph(program, (x,), Arithmetic.DOUBLE, Rounding("fp32"), "main", given)
    (name,) = given
    assert torch.equal(found.own[name], plain.own[name])
    bias = program.state_dict["linear.bias"].double()
    assert torch.allclose(found.own["linear"], bias.expand(1, 4, 6))


def test_channels_last_is_undone(small: tuple[torch.export.ExportedProgram, torch.Tensor]) -> None:
    program, x = small
    values = run_graph(program, (x,), Arithmetic.DOUBLE, Rounding("fp32"), "main").own
    name = next(name for name in values if name.startswith("conv"))
    tap = values[name].float().transpose(1, 2).contiguous().numpy()
    found = arranged(tap, [name], program.graph, values)
    assert torch.allclose(found[name], values[name], atol=1e-6)


def test_channels_last_is_undone_where_the_shape_does_not_tell() -> None:
    graph = torch.fx.Graph()
    node = graph.create_node("placeholder", "image", name="image")
    graph.call_function(torch.ops.aten.convolution.default, (node,))
    image = torch.randn(1, 4, 4, 4, dtype=DOUBLE)
    for value in (image, image.permute(0, 2, 3, 1)):
        found = arranged(value.contiguous().numpy(), ["image"], graph, {"image": image})
        assert torch.equal(found["image"], image)


def test_a_transposed_matrix_stays_wrong_where_there_are_no_images() -> None:
    graph = torch.fx.Graph()
    graph.create_node("placeholder", "bias", name="bias")
    bias = torch.randn(2, 4, 4, dtype=DOUBLE)
    found = arranged(bias.transpose(1, 2).contiguous().numpy(), ["bias"], graph, {"bias": bias})
    assert torch.equal(found["bias"], bias.transpose(1, 2))


def test_values_side_by_side_are_told_apart(small: tuple[torch.export.ExportedProgram, torch.Tensor]) -> None:
    program, x = small
    values = run_graph(program, (x,), Arithmetic.DOUBLE, Rounding("fp32"), "main").own
    tap = torch.cat([values["linear"], values["relu"]], -1).numpy()
    found = arranged(tap, ["linear", "relu"], program.graph, values)
    assert all(torch.equal(found[name], values[name]) for name in ("linear", "relu"))
    assert arranged(tap[..., :-1], ["linear", "relu"], program.graph, values) == {}
