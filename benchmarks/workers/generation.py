"""Greedy decoding through ``generate``, which transformers and optimum share."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.workers.serving import EOS_ID, encode


class GenerateEngine:
    """Any model with transformers' ``generate``; rows of a batch are padded to the longest and masked."""

    def __init__(self, model: Any, request: dict[str, Any], facts: dict[str, str]) -> None:
        self.model, self.facts = model, facts
        forced = request["forced_tokens"]
        self.options: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": request["max_tokens"]}
        if forced is not None:
            self.options |= {"max_new_tokens": forced, "min_new_tokens": forced}

    def run(self, texts: list[str]) -> list[list[int]]:
        rows = [encode(text) for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            generated = self.model.generate(ids, attention_mask=mask, **self.options)
        return [_cut(row) for row in generated[:, 1:].tolist()]


def _cut(ids: list[int]) -> list[int]:
    """Without the padding behind the end token."""
    return ids[: ids.index(EOS_ID) + 1] if EOS_ID in ids else ids
