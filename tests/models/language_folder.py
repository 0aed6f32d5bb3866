"""A small language model in a folder, with seeded weights, as transformers saves one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.families import describe
from harness.models.language.weights import SeededWeights, weight_shapes


def save_folder(path: Path, name: str = "tiny-llama", generation: dict[str, Any] | None = None, **change: Any) -> Path:
    """Write ``config.json``, the weights, and ``generation_config.json`` if its content is given."""
    config = {**CONFIGURATIONS[name], **change}
    decoder = describe(config)
    weights = SeededWeights(decoder, 0)
    path.mkdir(parents=True)
    save_file(
        {name: weights.take(name, shape) for name, shape in weight_shapes(decoder)},
        path / "model.safetensors",
        metadata={"format": "pt"},
    )
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if generation is not None:
        (path / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return path
