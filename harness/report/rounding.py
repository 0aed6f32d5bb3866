"""Report what eight bits cost of a model's convolutions, and which of them stay wide for it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.document import Block, Heading, Table
from harness.results.schema import Manifest

NOTE = (
    "Errors are root mean squares over those of exact results, on the inputs for which the model was rounded; "
    "“alone” is the error of the model's results if only this layer has eight bits."
)


def rounding_blocks(manifest: Manifest) -> Iterator[Block]:
    """Yield a table of the layers whose cost was measured; nothing for a run without any."""
    for variant, facts in manifest.variants.items():
        for model, layers in facts.rounding.items():
            measured = [one for one in layers if one.whole is not None]
            if not measured:
                continue
            measured.sort(key=lambda one: (not one.kept, -(one.whole or 0)))
            rows = [
                [", ".join(one.layers), f"{one.error:.2%}", f"{one.whole or 0:.2%}", "wide" if one.kept else "int8"]
                for one in measured
            ]
            several = len(manifest.variants) > 1
            yield Heading(f"What eight bits cost: {model}{f' ({variant})' if several else ''}")
            yield Table(["layer", "its error", "alone", "is"], rows, note=NOTE)
