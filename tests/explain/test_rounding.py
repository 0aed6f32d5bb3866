"""A layer's weight is taken as its archive holds it, and what was stored wrongly is not taken for rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.compiler.observe.provenance import (
    STORED,
    FunctionProvenance,
    Operator,
    Provenance,
    Site,
    write_provenance,
)
from harness.explain.rounding import Rounding, rounded

pytestmark = pytest.mark.compiler


def stored(tmp_path: Path, *weights: torch.Tensor, precision: str = "int8", steps: int = 0) -> Rounding:
    """Return an archive's rounding, whose one product has these layers' weights [N, K] side by side."""
    names = "+".join(f"linear_{at}" for at in range(len(weights)))
    save_file(
        {f"{precision}/{steps}/step/{names}": torch.cat([one.T for one in weights], 1).contiguous()}, tmp_path / STORED
    )
    return Rounding.read("int8", tmp_path)


@pytest.fixture
def layers() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(width, 30, dtype=torch.float64) for width in (8, 5, 8)]


def test_layers_side_by_side_are_told_apart_in_any_order(tmp_path: Path, layers: list[torch.Tensor]) -> None:
    # The compiler rounds a weight to another step than the nearest one.
    kept = [rounded(one, "int8") for one in layers]
    for one in kept:
        one[:, 3] += one.abs().amax(-1) / 127
    found = stored(tmp_path, *(kept[at].float() for at in (2, 0, 1)))
    for at, layer in enumerate(layers):
        got = found.linear("step", f"linear_{at}", layer)
        torch.testing.assert_close(got, kept[at], rtol=1e-6, atol=1e-6)
        assert not torch.equal(got, rounded(layer, "int8"))


def test_what_is_not_stored_is_rounded_plainly(tmp_path: Path, layers: list[torch.Tensor]) -> None:
    found = stored(tmp_path, layers[0].float())
    assert torch.equal(found.linear("encoder", "linear_0", layers[1]), rounded(layers[1], "int8"))
    assert torch.equal(found.table(layers[1]), layers[1].half().double())
    assert Rounding("fp32").linear("step", "linear_0", layers[0]) is layers[0]


def test_an_output_that_was_stored_wrongly_is_not_taken(tmp_path: Path, layers: list[torch.Tensor]) -> None:
    right = rounded(layers[0], "int8")
    wrong = right.clone()
    wrong[2] = 0
    found = stored(tmp_path, wrong.float()).linear("step", "linear_0", layers[0])
    torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-6)


def test_a_layer_that_was_kept_wide_has_its_own_precision(tmp_path: Path, layers: list[torch.Tensor]) -> None:
    halves = rounded(layers[0], "fp16")
    found = stored(tmp_path, halves.float(), precision="fp16").linear("step", "linear_0", layers[0])
    torch.testing.assert_close(found, halves, rtol=1e-6, atol=0)
    # Eight bits in its place are wrong, though they would be right elsewhere.
    eight = rounded(layers[0], "int8").float()
    found = stored(tmp_path, eight, precision="fp16").linear("step", "linear_0", layers[0])
    assert torch.equal(found, halves)


def test_activations_are_rounded_as_the_kernel_rounds_them(tmp_path: Path, layers: list[torch.Tensor]) -> None:
    x = torch.tensor([[1.0, 0.26, -0.49], [100.0, 3.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found = stored(tmp_path, layers[0].float(), steps=4).inputs("step", "linear_0", x)
    assert found.tolist() == [[1.0, 0.25, -0.5], [100.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    exact = stored(tmp_path, layers[0].float())
    assert exact.inputs("step", "linear_0", x) is x
    assert exact.inputs("step", "another", x) is x


def test_images_and_filters_of_kernels_that_have_bytes(tmp_path: Path) -> None:
    operators = [
        Operator(name=name, target="aten.convolution.default", module="", kind="") for name in ("first", "second")
    ]
    sites = [
        Site(kernel="conv_bytes_1_8_8_4_8_1_1_1_1_0_0_0_0_uint8_zy_6x2x8", operators=[0]),
        Site(kernel="conv_1_8_8_4_8_1_1_1_1_0_0_0_0_uint8_y_6x2x8", operators=[1]),
    ]
    write_provenance(
        tmp_path, Provenance(functions=[FunctionProvenance(name="main", operators=operators, sites=sites)])
    )
    found = Rounding.read("int8", tmp_path)
    torch.manual_seed(0)
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(8, 4, 1, 1)
    step = (x.max() - x.min()) / 255
    assert 0 < float((found.image("main", "first", x) - x).abs().max()) <= 0.501 * step
    assert 0 < float((found.filters("main", "first", weight) - weight).abs().max()) <= 0.501 * weight.abs().max() / 64
    assert found.image("main", "second", x) is x
    assert found.filters("main", "second", weight) is weight
