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
    """Decode so many tokens after every prompt at most, greedily, with transformers' own cache.

    Where the tokens that follow are given, choose at each of them.
    """
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
        if request["following"]:
            fed = request["following"][at]
            tokens = torch.tensor([[*prompt, *fed]])
            with torch.inference_mode():
                kept = model(input_ids=tokens, use_cache=False, logits_to_keep=len(fed) + 1).logits[0]
            # What is after the last token is not known.
            logits = kept[:-1]
            choices = logits.argmax(1).tolist()
        else:
            answer = greedy(
                model,
                torch.tensor([prompt]),
                request["tokens"],
                request["stops"],
                output_logits=True,
                return_dict_in_generate=True,
            )
            logits = torch.stack([step[0] for step in answer.logits])
            choices = fed = answer.sequences[0, len(prompt) :].tolist()
        items.append(described(logits, choices, fed, request["top"]))
    return {"items": items, "torch_version": torch.__version__, "transformers_version": transformers.__version__}


def described(logits: Tensor, choices: list[int], fed: list[int], top: int) -> dict[str, Any]:
    """Return the fields of a ``GeneratedItem``, from float32 logits [steps, V] at which ``fed`` tokens follow."""
    import torch

    best = torch.topk(logits, 2).values
    given = logits.double()
    of_fed = given.gather(1, torch.tensor(fed)[:, None])[:, 0]
    top_tokens, top_logarithms = most_probable(logits, top)
    return {
        "token_ids": choices,
        "margins": (best[:, 0] - best[:, 1]).tolist(),
        "log_probabilities": (of_fed - torch.logsumexp(given, 1)).tolist(),
        "top_tokens": top_tokens,
        "top_logarithms": top_logarithms,
    }


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
