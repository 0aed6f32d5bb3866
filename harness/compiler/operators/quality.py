"""Choose the precision of each layer: the archive's own, or a wider one for the layers that were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from harness.compiler.kernels.formats import Array
from harness.compiler.kernels.groups import GROUP
from harness.compiler.kernels.rounding import Calibration
from harness.compiler.observe.provenance import LayerError, Operator
from harness.protocol.schema import Precision

WIDER: dict[Precision, Precision] = {"int4": "int8", "int8": "fp16", "fp16": "fp32", "fp32": "fp32"}


def layer_names(function: str, layer: Operator) -> list[str]:
    """Return the names of a layer: its module's path and its node's name, alone and behind the function's name."""
    names = [name for name in (layer.module, layer.name) if name]
    return [*names, *(f"{function}/{name}" for name in names)]


@dataclass(frozen=True)
class StoredWeight:
    """Describe a product's weight as it is stored."""

    precision: Precision
    steps: int
    """How many steps the largest activation of a row has; 0 where activations are not rounded."""
    layers: tuple[Operator, ...]
    """The exported graph's operators that the product computes."""
    error: float
    """The error of its results over the results, on usual inputs; see ``kernels/unpacking.py``."""
    weight: Array
    """The numbers [K, N] that the archive holds, the layers' columns side by side; empty if they are not kept."""

    def described(self, function: str) -> LayerError:
        """Return what the provenance has of it."""
        return LayerError(layers=[f"{function}/{one.module or one.name}" for one in self.layers], error=self.error)


@dataclass
class Quality:
    """Hold how exactly one function is compiled."""

    precision: Precision
    function: str = "main"
    keep_wide: Sequence[str] = ()
    """Patterns of layers that are stored one precision wider, as in a shell: ``encoder/*.0.*``."""
    calibration: Calibration = field(default_factory=Calibration)
    used: set[str] = field(default_factory=set)
    """Filled with the patterns that matched a layer."""
    stored: list[StoredWeight] = field(default_factory=list)
    """Filled with the products whose weights have fewer bits than float32."""
    byte_layers: set[str] = field(default_factory=set)
    """Filled with the nodes of the convolutions that multiply bytes."""
    keep_weights: bool = False
    """Whether ``stored`` has their numbers, too."""
    heads: Sequence[str] = ()
    """Patterns of layers that have eight bits where all others have four."""
    int4_group: int = GROUP
    """How many inputs share a scale of int4 weights."""

    def described(self, operators: Sequence[Operator]) -> list[LayerError]:
        """Return what the provenance has of the layers with fewer bits, and of convolutions that stay wide."""
        found = [one.described(self.function) for one in self.stored]
        for one in operators:
            cost = self.calibration.costs.get(one.name)
            if cost is not None and (cost.kept or one.name in self.byte_layers):
                layer = f"{self.function}/{one.module or one.name}"
                found.append(LayerError(layers=[layer], error=cost.own, whole=cost.whole, kept=cost.kept))
        return found

    def of(self, layers: Sequence[Operator]) -> Precision:
        """Return the precision of a fused operator that computes these layers."""
        names = [name for layer in layers for name in layer_names(self.function, layer)]
        found = {pattern for pattern in self.keep_wide if _matches(pattern, names)}
        self.used |= found
        head = self.precision == "int4" and any(_matches(pattern, names) for pattern in self.heads)
        own: Precision = "int8" if head else self.precision
        return WIDER[own] if found else own


def _matches(pattern: str, names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
