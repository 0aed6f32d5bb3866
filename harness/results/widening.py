"""Name the layers that cost a run of fewer bits its agreement with PyTorch: those of the largest measured errors."""

from __future__ import annotations

from harness.compiler.observe.provenance import LayerError
from harness.results.schema import Manifest, Summary, WideLayer, WorkloadSummary

MOST_NAMED = 3
SHARE = 0.5
"""A layer is named if its error is so much of the largest."""


def layers_to_widen(manifest: Manifest, workload: str, found: WorkloadSummary) -> list[WideLayer]:
    """Return the layers of a workload with the largest errors, the largest first.

    They are those of a variant that failed. The list is empty for an archive of float32 weights.
    """
    failed = {name.partition(",")[0] for name, parity in found.parity.items() if parity.failed}
    variants = {name: facts.rounding.get(workload, []) for name, facts in manifest.variants.items()}
    rounding = next((variants[name] for name in variants if name in failed), None)
    if rounding is None:
        rounding = next((one for one in variants.values() if one), [])
    worst = {one.layers[0]: one.error for one in sorted(rounding, key=lambda one: one.error) if _may_widen(one)}
    named = sorted(worst, key=lambda layer: -worst[layer])[:MOST_NAMED]
    return [
        WideLayer(workload=workload, layer=layer, error=worst[layer])
        for layer in named
        if worst[layer] >= SHARE * worst[named[0]] > 0
    ]


def _may_widen(one: LayerError) -> bool:
    return bool(one.layers) and not one.kept


def widening_text(manifest: Manifest, summary: Summary) -> str | None:
    """Return a line with the layers to keep wide and the option for it; None if there are none."""
    wide = summary.keep_wide
    if not wide:
        return None
    layers = ", ".join(f"{one.layer} ({one.error:.1%} of its results)" for one in wide)
    precision = manifest.options.get("precision", "the precision")
    return f"{precision} costs most in {layers}; keep wide what costs most: {' '.join(one.option for one in wide)}"
