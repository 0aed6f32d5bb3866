"""transformers in float32, with its cache: ``python -m benchmarks.workers.language_transformers``.

With ``export CONFIG.json FOLDER`` it writes a model's seeded weights instead, for engines in other environments.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from benchmarks.workers.language_serving import serve
from harness.models.language.families import describe
from harness.models.language.loading import transformers_model
from harness.models.language.weights import opened_weights, weight_shapes


class TransformersEngine:
    """Call the model directly, which costs less than ``generate``."""

    def __init__(self, request: dict[str, Any]) -> None:
        torch.set_num_threads(request["threads"])
        weights = opened_weights(describe(request["config"]), request["source"])
        self.model = transformers_model(request["config"], weights)
        self.facts = {"torch": torch.__version__, "transformers": transformers.__version__}
        self.cache: Any = None

    @torch.inference_mode()
    def _next(self, tokens: Sequence[int]) -> int:
        found = self.model(
            input_ids=torch.tensor([list(tokens)]), past_key_values=self.cache, use_cache=True, logits_to_keep=1
        )
        self.cache = found.past_key_values
        return int(found.logits[0, -1].argmax())

    def begin(self, prompt: Sequence[int]) -> int:
        self.cache = None
        return self._next(prompt)

    def step(self, token: int) -> int:
        return self._next([token])


def export(config_path: Path, folder: Path) -> None:
    """Write ``model.safetensors`` with the weights that a configuration's seed gives."""
    request = json.loads(config_path.read_bytes())
    decoder = describe(request["config"])
    weights = opened_weights(decoder, request["source"])
    save_file({name: weights.take(name, shape) for name, shape in weight_shapes(decoder)}, folder / "model.safetensors")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["export"]:
        export(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        serve(TransformersEngine)
