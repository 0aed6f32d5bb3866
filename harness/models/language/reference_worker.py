"""Ask PyTorch in a process of its own: ``python -m harness.models.language.reference_worker`` (see core/worker.py)."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from harness.core.progress import Progress
from harness.core.worker import serve

if TYPE_CHECKING:
    from torch import Tensor

NOTHING = -1e4
"""The logarithm of a probability that is none."""


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Decode so many tokens after every prompt at most, greedily, with transformers' own cache."""
    progress("loading PyTorch")
    import torch
    import transformers

    from harness.models.language.families import describe
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
        top_tokens, top_logarithms = most_probable(torch.stack([step[0] for step in answer.logits]), request["top"])
        items.append(
            {
                "token_ids": answer.sequences[0, len(prompt) :].tolist(),
                "margins": [(two[0] - two[1]).item() for two in best],
                "log_probabilities": [
                    (two[0] - torch.logsumexp(step[0].double(), 0)).item()
                    for two, step in zip(best, answer.logits, strict=True)
                ],
                "top_tokens": top_tokens,
                "top_logarithms": top_logarithms,
            }
        )
    return {"items": items, "torch_version": torch.__version__, "transformers_version": transformers.__version__}


def most_probable(logits: Tensor, count: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return the most probable tokens of each step, and the logarithms of their probabilities.

    ``logits`` are float32 [steps, V]. The logarithms have one element more: that of all other tokens together, or
    ``NOTHING`` if there are none.
    """
    import torch

    logarithms = torch.log_softmax(logits.double(), 1)
    top = torch.topk(logarithms, min(count, logits.shape[1]), 1)
    others = logarithms.scatter(1, top.indices, float("-inf")).logsumexp(1, keepdim=True).clamp(min=NOTHING)
    # As many digits as the runner gets.
    return top.indices.tolist(), torch.cat([top.values, others], 1).float().tolist()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
