"""Build a language model's compiled functions: the prefill of a block of a prompt, and the step of one token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import Dim

from harness.core.progress import Progress
from harness.models.functions import ModelFunction, ModelFunctions
from harness.models.language.calibration import CalibratedWeights, calibrate
from harness.models.language.families import describe
from harness.models.language.loading import check_layers, compiled_modules, transformers_model
from harness.models.language.weights import opened_weights
from harness.protocol.schema import Precision

EXAMPLE_ROWS = 7
"""The rows of the example inputs: neither 0 nor 1, which torch.export would take for constants."""


def load(request: Mapping[str, Any], precision: Precision, progress: Progress) -> ModelFunctions:
    """Return the functions of :meth:`harness.models.language.workload.LanguageModel.compilable`.

    Raises UnknownPart and BadCheckpoint, also for blocks that diverge from transformers'.
    """
    config, source, sizes = request["config"], request["source"], request["sizes"]
    decoder = describe(config)
    progress("comparing the blocks with transformers'")
    check_layers(config, decoder, source)
    progress("loading the weights")
    weights = opened_weights(decoder, source)
    if request.get("calibration") and precision == "int4":
        model = transformers_model(config, weights)
        calibrate(model, request["calibration"], request["int4_group"], progress)
        weights = CalibratedWeights(weights, model)
    prefill, step = compiled_modules(decoder, weights, sizes["capacity"])
    cache_dtype = torch.float32 if precision == "fp32" else torch.float16
    shape = decoder.cache_shape(sizes["capacity"])
    cache = torch.zeros(shape, dtype=cache_dtype)
    rows = min(EXAMPLE_ROWS, sizes["block"])
    position, token = torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    count = Dim("t", min=1, max=sizes["block"])
    return ModelFunctions(
        functions=(
            ModelFunction(
                "prefill",
                prefill,
                (torch.zeros(rows, dtype=torch.int32), position, cache),
                ({0: count}, None, None),
                results=(2,),
            ),
            ModelFunction(
                "step",
                step,
                (token, position, cache),
                (None, None, None),
                results=(0, None, 2),
                # The prefill has the same layers.
                shared_panels=True,
                heads=("head",),
            ),
        ),
        metadata={
            "vocab_size": decoder.vocab_size,
            "cache_shape": shape,
            "cache_dtype": str(cache_dtype).removeprefix("torch."),
        },
        int4_group=request["int4_group"],
    )
