"""Convolutions of our own against PyTorch: shapes of every kind, every instruction set's tiles, and in models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.compiler.kernels import winograd
from harness.compiler.kernels.panels import Convolution
from harness.compiler.observe.provenance import Site
from harness.compiler.targets.profiles import AVX2, AVX512, NEON, Profile
from tests.compiler.compiled import answers, compiled
from tests.compiler.convolutions import check, check_kernel

pytestmark = pytest.mark.compiler

PROFILES = [AVX2, AVX512, NEON]

SHAPES = {
    "one pixel": Convolution(1, (1, 1), 5, 7, (1, 1)),
    "points": Convolution(2, (5, 7), 19, 40, (1, 1)),
    "points apart": Convolution(1, (9, 8), 8, 37, (1, 1), (2, 3)),
    "borders": Convolution(1, (9, 23), 6, 16, (3, 3), padding=(1, 1, 1, 1)),
    "unequal borders": Convolution(1, (6, 31), 3, 21, (3, 5), padding=(0, 2, 2, 1)),
    "nothing but borders": Convolution(1, (1, 2), 4, 8, (5, 5), padding=(2, 2, 2, 2)),
    "far apart": Convolution(2, (13, 17), 5, 33, (3, 3), (2, 2), (1, 1, 1, 1), (2, 3)),
    "planar": Convolution(1, (15, 19), 3, 24, (3, 3), (2, 2), (1, 1, 1, 1), planar=True),
    "a row": Convolution(1, (1, 50), 7, 12, (1, 10), (1, 5), (0, 3, 0, 2), of_rows=True),
    "groups": Convolution(1, (7, 9), 48, 96, (3, 3), padding=(1, 1, 1, 1), groups=3),
    "small groups": Convolution(1, (5, 8), 24, 24, (3, 3), padding=(1, 1, 1, 1), groups=6),
    "odd groups": Convolution(1, (5, 6), 15, 9, (3, 3), padding=(1, 1, 1, 1), groups=3),
    "by channel": Convolution(2, (6, 37), 27, 27, (3, 3), padding=(1, 1, 1, 1), groups=27),
    "by channel, apart": Convolution(1, (11, 14), 19, 19, (5, 5), (2, 2), (2, 1, 2, 3), (1, 2), groups=19),
    "by channel, inside": Convolution(1, (5, 9), 16, 16, (3, 3), groups=16),
    "by channel, a row": Convolution(1, (1, 40), 5, 5, (1, 5), (1, 2), (0, 4, 0, 4), (1, 2), groups=5, of_rows=True),
    "spread": Convolution(2, (3, 17), 9, 21, (1, 1), spread=(2, 3)),
    "many filters": Convolution(1, (4, 30), 10, 150, (1, 1)),
}
"""Convolutions whose extents are mostly no multiple of anything."""


@pytest.mark.parametrize(("at", "name"), list(enumerate(sorted(SHAPES))), ids=lambda v: v if isinstance(v, str) else "")
def test_shapes(at: int, name: str) -> None:
    """Each with the tiles of one instruction set, and the next shape with those of the next."""
    check(PROFILES[at % len(PROFILES)], SHAPES[name])


WINOGRAD = {
    "whole tiles": Convolution(1, (8, 12), 32, 32, (3, 3), padding=(1, 1, 1, 1)),
    "no borders": Convolution(2, (9, 11), 17, 35, (3, 3)),
    "several blocks": Convolution(1, (13, 26), 19, 70, (3, 3), padding=(1, 0, 2, 1)),
}


@pytest.mark.parametrize(
    ("profile", "name"), list(zip(PROFILES, WINOGRAD, strict=True)), ids=lambda v: str(getattr(v, "name", v))
)
def test_winograd(profile: Profile, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the bound that suites have: random numbers of m = 4 differ by 3e-6 of the largest result."""
    monkeypatch.setattr(winograd, "BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(winograd, "LEAST_TILES", 3)
    conv = WINOGRAD[name]
    outputs: tuple[winograd.Outputs, ...] = (2, 4)
    for m, tolerance in zip(outputs, (2e-6, 1e-5), strict=True):
        form = winograd.winograd(conv, profile, m)
        kernel = winograd.winograd_kernel(profile, form)
        check_kernel(kernel, partial(winograd.pack_winograd, form), conv, tolerance)


class Norms(nn.Module):
    """Convolutions with what networks put behind them, for each activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 20, 3, padding=1, bias=False), nn.Conv2d(20, 20, 3, padding=1, groups=2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(20) for _ in range(2))
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = []
        for number, activation in enumerate(ACTIVATIONS.values()):
            y = torch.relu(self.norms[0](self.first(x + number)))
            found.append(activation(y + self.norms[1](self.second(y))))
        return tuple(found)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "silu": F.silu,
    "gelu": F.gelu,
    "sigmoid gate": lambda x: x * torch.sigmoid(x + 1),
    "leaky": lambda x: torch.maximum(x, 0.1 * x),
    "one bound": lambda x: x.clamp(min=-0.5),
    "quotient": lambda x: 1 / (2 + torch.relu(3 - x)),
}


def test_norms_residuals_and_activations() -> None:
    """One kernel computes each of them: beside two for each activation, only inputs and results are turned."""
    torch.manual_seed(0)
    module, x = Norms().eval(), torch.randn(1, 3, 9, 10)
    with torch.inference_mode():
        expected = answers(module, x)
    sites: list[Site] = []
    ours = compiled(module, (x,), sites=sites)(x)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-6 * float(np.abs(other).max()), rtol=0)
    kernels = [site.kernel for site in sites]
    assert sum(name.startswith("conv_") for name in kernels) == 2 * len(ACTIVATIONS)
    assert not [name for name in kernels if "multiply" in name.removeprefix("conv_") and not name.startswith("conv_")]


class Activated(nn.Module):
    """A convolution of single pixels before each activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 20, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(activation(self.first(x + number)) for number, activation in enumerate(ACTIVATIONS.values()))


def test_activations_hand_on_what_is_not_a_number() -> None:
    torch.manual_seed(0)
    module, x = Activated().eval(), torch.randn(1, 3, 4, 5)
    x[0, 1, 2, 3] = math.nan
    with torch.inference_mode():
        expected = answers(module, x)
    for name, one, other in zip(ACTIVATIONS, compiled(module, (x,))(x), expected, strict=True):
        assert np.isnan(other).sum() == 20, name
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)


class Larger(nn.Module):
    """Transposed convolutions: without overlap, and two that TVM computes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.back = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(12, 5, 3, padding=1)
        self.kinds = nn.ModuleList(
            [
                nn.ConvTranspose2d(8, 12, 2, stride=2),
                nn.ConvTranspose2d(8, 12, 2, stride=2, bias=False),
                nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1),
                nn.ConvTranspose2d(8, 12, 2, stride=2, groups=2),
            ]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = torch.relu(self.first(x))
        larger = [kind(y) for kind in self.kinds]
        return (*larger, *(torch.relu(self.back(one)) for one in larger), self.kinds[0](x.repeat(1, 3, 1, 1)[:, :8]))


def test_transposed_convolutions() -> None:
    torch.manual_seed(0)
    module, x = Larger().eval(), torch.randn(1, 3, 5, 6)
    with torch.inference_mode():
        expected = answers(module, x)
    sites: list[Site] = []
    for one, other in zip(compiled(module, (x,), sites=sites)(x), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-6 * float(np.abs(other).max()), rtol=0)
    assert sum("spread" in site.kernel for site in sites) == 3


class Shared(nn.Module):
    """Results of convolutions that are read more than once, sums of two convolutions, and one over samples."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv1d(8, 8, k, padding=k // 2, groups=g) for k, g in ((3, 1), (5, 2), (1, 1)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b = self.a(x), self.b(x)
        c = self.c(a * torch.sigmoid(a.mean(2, keepdim=True)))
        return torch.relu(a + b), a, torch.relu(c) + torch.relu(c + 1)


def test_results_that_are_read_more_than_once() -> None:
    torch.manual_seed(0)
    module, x = Shared().eval(), torch.randn(2, 8, 21)
    with torch.inference_mode():
        wanted = answers(module, x)
    for ours, expected in itertools.zip_longest(compiled(module, (x,))(x), wanted):
        np.testing.assert_allclose(ours, expected, atol=3e-6, rtol=1e-5)


def test_filters_with_a_norm_are_constants() -> None:
    """torch's weight_norm, as speech models have it, leaves two factors of the filters in the graph."""
    torch.manual_seed(0)
    plain = nn.Conv1d(24, 48, 7, padding=3, groups=4)
    module, x = nn.utils.parametrizations.weight_norm(plain, dim=2).eval(), torch.randn(1, 24, 31)
    with torch.inference_mode():
        (expected,) = answers(module, x)
    sites: list[Site] = []
    (ours,) = compiled(module, (x,), sites=sites)(x)
    np.testing.assert_allclose(ours, expected, atol=3e-6 * float(np.abs(expected).max()), rtol=0)
    assert [site.kernel.split("_")[0] for site in sites].count("conv") == 1, sites


ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "axes from the end": lambda x: x.amax(-1, keepdim=True).squeeze(-1) + x.permute(0, -3, -1, -2)[:, :, 0],
    "no axis": lambda x: x[:, :1].squeeze(),
}
"""What TVM's rules for layouts fail on: without a cure the convolutions in front stay loops, twenty times as slow."""


class Ended(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end
        self.patches, self.rows = nn.Conv2d(3, 24, 4, stride=4), nn.Conv1d(24, 16, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.patches(x)
        return self.end(patches), self.rows(patches.flatten(2))


@pytest.mark.parametrize("name", list(ENDS))
def test_convolutions_before_layouts_of_every_kind(name: str) -> None:
    torch.manual_seed(0)
    module, x = Ended(ENDS[name]).eval(), torch.randn(1, 3, 20, 24)
    with torch.inference_mode():
        expected = answers(module, x)
    sites: list[Site] = []
    for one, other in zip(compiled(module, (x,), sites=sites)(x), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-6 * float(np.abs(other).max()), rtol=0)
    assert [site.kernel.split("_")[0] for site in sites].count("conv") == 2, sites
