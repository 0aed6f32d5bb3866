"""transformers' ``generate`` in float32: ``python -m benchmarks.workers.transformers_worker``."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
import transformers

from benchmarks.workers.generation import GenerateEngine
from benchmarks.workers.serving import serve


def load(request: dict[str, Any]) -> GenerateEngine:
    torch.set_num_threads(request["threads"])
    model = transformers.T5ForConditionalGeneration.from_pretrained(
        request["model"], dtype=torch.float32, local_files_only=True
    )
    facts = {"torch": torch.__version__, "transformers": transformers.__version__}
    return GenerateEngine(model.eval(), request, facts)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(load)
