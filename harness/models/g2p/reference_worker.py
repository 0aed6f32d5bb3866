"""Ask PyTorch in a process of its own: ``python -m harness.models.g2p.reference_worker`` (see core/worker.py)."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

from harness.core.progress import Progress
from harness.core.worker import serve

PROGRESS_SECONDS = 2.0


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Decode every word greedily."""
    progress("loading PyTorch")
    import torch
    import transformers

    from harness.models.g2p.items import encode_prompt
    from harness.models.g2p.loading import greedy, load_checkpoint
    from harness.models.tokenizer import decode

    options = request["options"]
    torch.set_num_threads(options["threads"])
    t5 = load_checkpoint(Path(request["checkpoint"]))
    inputs = [
        torch.tensor([encode_prompt(w["language"], w["word"], space=options["prompt_space"])]) for w in request["words"]
    ]

    items: list[dict[str, Any]] = []
    reported = time.monotonic()
    for at, (word, input_ids) in enumerate(zip(request["words"], inputs, strict=True)):
        answer = greedy(t5, input_ids, options["max_output_len"], output_logits=True, return_dict_in_generate=True)
        logits = [step[0] for step in answer.logits]
        best = [torch.topk(step, 2).values for step in logits]
        token_ids = answer.sequences[0, 1:].tolist()
        items.append(
            {
                **word,
                "token_ids": token_ids,
                "text": decode(token_ids),
                "margins": [(two[0] - two[1]).item() for two in best],
                "logits": {step: logits[step].tolist() for step in options["logit_steps"] if step < len(logits)},
            }
        )
        if time.monotonic() - reported > PROGRESS_SECONDS:
            reported = time.monotonic()
            progress(f"PyTorch reference: {at + 1} of {len(inputs)} words")
    return {
        "items": items,
        "torch_version": torch.__version__,
        "transformers_version": transformers.__version__,
        "cpu": request["cpu"],
    }


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
