"""PyTorch's own samples of its operators (OpInfo), compiled many at a time and compared with PyTorch's results.

Exporting and compiling a module costs about a second, however small it is. So the samples of many operators go into one
module, each with its own inputs and results, and what fails is taken out of it.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import tvm
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils import _pytree as pytree
from tvm import relax

from harness.compiler.errors import CannotCompile, UnsupportedOperator
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.functions import ModelFunction
from tests.compiler.opinfo_names import SAMPLED_AS, WITHOUT_SAMPLES, is_of_training

DTYPES = (torch.float32, torch.int64, torch.bool)
"""The types of samples, where an operator takes them."""
AT_ONCE = 40
"""Samples in one module. More of them take TVM longer than one after another."""
SPECIAL = (math.nan, math.inf, -math.inf, -0.0)
"""Numbers that are written into further samples."""
UNDEFINED = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_")
"""Operators whose results are memory as it is: only the shape and the type are compared."""
_numbers = itertools.count()
MIXED = (
    *(
        "nn_functional_embedding_bag",
        "nn_functional_gelu",
        "nn_functional_interpolate",
        "nn_functional_upsample",
        "fft_",
    ),
    *("nn_functional_conv_transpose", "nn_functional_scaled_dot_product_attention", "einsum", "matmul", "linalg_"),
)
"""Beginnings of the names of operators that are computed as products, in which 0 times NaN or infinity is NaN. Also
gelu, since PyTorch's own gives NaN at infinity, and attention, since PyTorch's fused kernel makes 0 of a row of NaN.
``test_not_a_number.py`` compares attention with the products and the softmax that it stands for.
"""
TIED = ("sort", "argsort", "topk", "msort", "mode", "kthvalue", "median", "nanmedian")
"""Operators for which torch does not define the places of equal elements, nor the most frequent beside NaN."""
AGREES, REFUSED, WRONG = "agrees", "refused", "wrong"


@dataclass(frozen=True, eq=False)
class Sample:
    """One call of an operator."""

    operator: str
    """OpInfo's name of the operator, with the variant."""
    name: str
    call: Callable[..., Any]
    leaves: tuple[Any, ...]
    """All arguments, flat."""
    spec: pytree.TreeSpec
    undefined: bool = False

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(_real(leaf) for leaf in self.leaves if isinstance(leaf, Tensor))

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the operator's results for other inputs of the same shapes."""
        given = iter(inputs)
        leaves = [_like(leaf, next(given)) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        with warnings.catch_warnings():
            # Some of PyTorch's own samples are of forms that it deprecates.
            warnings.simplefilter("ignore", UserWarning)
            results = pytree.tree_leaves(self.call(*args, **kwargs))
        return [_real(leaf) for leaf in results if isinstance(leaf, Tensor)]


def _real(value: Tensor) -> Tensor:
    """Return complex numbers as pairs, since no model takes or returns others."""
    return torch.view_as_real(value) if value.is_complex() else value


def _like(leaf: Tensor, given: Tensor) -> Tensor:
    return torch.view_as_complex(given) if leaf.is_complex() else given


@dataclass(frozen=True)
class Verdict:
    """How a sample came out."""

    sample: Sample
    outcome: str
    reason: str = ""


def samples(info: OpInfo, dtype: torch.dtype) -> Iterator[Sample]:
    """Yield PyTorch's samples of an operator; empty if it does not take the type."""
    if not info.supports_dtype(dtype, "cpu"):
        return
    torch.manual_seed(0)
    kind = str(dtype).removeprefix("torch.")
    for number, given in enumerate(info.sample_inputs("cpu", dtype)):  # type: ignore[no-untyped-call]
        yield _sample(info, f"{info.formatted_name} {kind} {number}", given)


def _sample(info: OpInfo, name: str, given: Any) -> Sample:
    leaves, spec = pytree.tree_flatten(((given.input, *given.args), given.kwargs))
    whole = tuple(leaf.detach().contiguous() if isinstance(leaf, Tensor) else leaf for leaf in leaves)
    return Sample(info.formatted_name, name, info.op, whole, spec, undefined=info.name in UNDEFINED)


def special(sample: Sample) -> Sample | None:
    """Return the sample with NaN, infinities and the like in its first tensor; None if it has no fractions."""
    at = next((at for at, leaf in enumerate(sample.leaves) if isinstance(leaf, Tensor)), None)
    if (
        at is None
        or sample.operator.startswith((*MIXED, *TIED))
        or not sample.leaves[at].is_floating_point()
        or sample.leaves[at].numel() < len(SPECIAL)
    ):
        return None
    changed = sample.leaves[at].clone()
    flat = changed.reshape(-1)
    step = flat.numel() // len(SPECIAL)
    flat[: step * len(SPECIAL) : step] = torch.tensor(SPECIAL, dtype=flat.dtype)
    leaves = (*sample.leaves[:at], flat.reshape(changed.shape), *sample.leaves[at + 1 :])
    return _replaced(sample, "special", leaves=leaves)


def _replaced(sample: Sample, suffix: str, **changes: Any) -> Sample:
    fields = {name: getattr(sample, name) for name in Sample.__dataclass_fields__}
    return Sample(**{**fields, **changes, "name": f"{sample.name} {suffix}"})


class Single(nn.Module):
    """One sample's operator."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.sample = sample

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return self.sample.run(inputs)


class Many(nn.Module):
    """Samples side by side. A module for each, so that an error names its number."""

    def __init__(self, some: Sequence[Sample]) -> None:
        super().__init__()
        self.parts = nn.ModuleList([Single(sample) for sample in some])

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        rest, results = list(inputs), []
        for part in self.parts:
            assert isinstance(part, Single)
            count = len(part.sample.inputs)
            results += part(*rest[:count])
            del rest[:count]
        return results


@torch.no_grad()
def judge(some: Sequence[Sample]) -> list[Verdict]:
    """Compile the samples and compare their results with PyTorch's."""
    found: list[Verdict] = []
    for at in range(0, len(some), AT_ONCE):
        found += _judge(some[at : at + AT_ONCE])
    return found


def _judge(some: Sequence[Sample]) -> list[Verdict]:
    found: list[Verdict] = []
    left = list(some)
    while left:
        came = _attempt(left)
        if isinstance(came, list):
            return found + came
        if len(left) == 1:
            refused = isinstance(came, CannotCompile)
            return [*found, Verdict(left[0], REFUSED if refused else WRONG, _reason(came))]
        number = re.search(r" in parts\.(\d+) \(Single\)", str(came))
        if not isinstance(came, UnsupportedOperator) or number is None:
            half = len(left) // 2
            return [*found, *_judge(left[:half]), *_judge(left[half:])]
        found.append(Verdict(left.pop(int(number.group(1))), REFUSED, _reason(came)))
    return found


def _attempt(some: Sequence[Sample]) -> list[Verdict] | Exception:
    try:
        return _compared(some)
    except Exception as error:  # of the compiler, of what runs the compiled module, or of PyTorch itself
        return error


def _reason(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return first if isinstance(error, CannotCompile) else f"{type(error).__name__}: {first}"


def _compared(some: Sequence[Sample]) -> list[Verdict]:
    inputs = tuple(one for sample in some for one in sample.inputs)
    # An operator may write into its input.
    wanted = [sample.run([one.clone() for one in sample.inputs]) for sample in some]
    made = iter(_results(some, inputs))
    return [
        _verdict(sample, [next(made) for _ in results], results) for sample, results in zip(some, wanted, strict=True)
    ]


def _results(some: Sequence[Sample], inputs: tuple[Tensor, ...]) -> list[Any]:
    """Return all results of the compiled module."""
    host, ops = resolve_target("llvm"), OpTable()
    example = tuple(one.clone() for one in inputs)
    function = ModelFunction("main", Many(some).eval(), example, None)
    imported = import_function(function, ops, exported(function))
    recipe = Recipe(host.profile, "fp32", f"samples{next(_numbers)}_", ops)
    machine = relax.VirtualMachine(lower(imported, tvm_target(host), recipe), tvm.cpu())
    given = machine["main"](*(tvm.runtime.tensor(one.numpy()) for one in inputs))
    return [output.numpy() for output in (list(given) if isinstance(given, tvm.ir.Array) else [given])]


def _verdict(sample: Sample, made: Sequence[Any], wanted: Sequence[Tensor]) -> Verdict:
    for one, other in zip(made, wanted, strict=True):
        difference = _difference(torch.from_numpy(one), other, undefined=sample.undefined)
        if difference:
            return Verdict(sample, WRONG, difference)
    return Verdict(sample, AGREES)


def _difference(made: Tensor, wanted: Tensor, *, undefined: bool) -> str:
    """Return what is wrong with a result; empty if nothing is."""
    if made.shape != wanted.shape:
        return f"the shape {list(made.shape)}, PyTorch's {list(wanted.shape)}"
    if made.dtype != wanted.dtype:
        return f"{made.dtype}, PyTorch's {wanted.dtype}"
    if undefined:
        return ""
    half = wanted.dtype in (torch.float16, torch.bfloat16)
    relative, absolute = (2e-2, 2e-2) if half else (1e-4, 1e-5)
    try:
        torch.testing.assert_close(made, wanted, rtol=relative, atol=absolute, equal_nan=True)
    except AssertionError as error:
        return " ".join(str(error).split())
    return ""


def spread(info: OpInfo, most: int) -> list[Sample]:
    """Return at most so many samples of each type, and what is made of some of them."""
    found: list[Sample] = []
    for dtype in DTYPES:
        own = [] if info.name in TIED and dtype != torch.float32 else list(samples(info, dtype))
        if not own:
            continue
        if len(own) > most:
            own = [own[number * (len(own) - 1) // max(most - 1, 1)] for number in range(most)]
        found += own
        if dtype == torch.float32:
            some = [own[0], own[len(own) // 2]]
            found += [one for sample in dict.fromkeys(some) if (one := special(sample))]
    return found


def sampled_as(operator: str) -> list[str]:
    """Return OpInfo's names of the samples of a core operator."""
    if operator in SAMPLED_AS:
        return list(SAMPLED_AS[operator])
    if is_of_training(operator) or operator in WITHOUT_SAMPLES:
        return []
    return [info.formatted_name for info in infos() if operator in (info.name, info.aten_name)]


def infos() -> list[OpInfo]:
    """Return all operators that PyTorch has samples of."""
    return list(op_db)
