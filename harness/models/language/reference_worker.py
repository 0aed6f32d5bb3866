"""Ask PyTorch in a process of its own: ``python -m harness.models.language.reference_worker`` (see core/worker.py)."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from harness.core.progress import Progress
from harness.core.worker import serve


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Decode so many tokens after every prompt at most, greedily, with transformers' own cache."""
    progress("loading PyTorch")
    import torch
    import transformers

    from harness.models.language.description import describe
    from harness.models.language.loading import greedy, transformers_model
    from harness.models.language.weights import opened_weights

    torch.set_num_threads(request["threads"])
    weights = opened_weights(describe(request["config"]), request["source"])
    model = transformers_model(request["config"], weights)
    items: list[dict[str, Any]] = []
    for at, prompt in enumerate(request["prompts"]):
        progress(f"PyTorch reference: prompt {at + 1} of {len(request['prompts'])}")
        answer = greedy(
            model,
            torch.tensor([prompt]),
            request["tokens"],
            request["stops"],
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = [torch.topk(step[0], 2).values for step in answer.logits]
        items.append(
            {
                "token_ids": answer.sequences[0, len(prompt) :].tolist(),
                "margins": [(two[0] - two[1]).item() for two in best],
                "log_probabilities": [
                    (two[0] - torch.logsumexp(step[0].double(), 0)).item()
                    for two, step in zip(best, answer.logits, strict=True)
                ],
            }
        )
    return {"items": items, "torch_version": torch.__version__, "transformers_version": transformers.__version__}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
