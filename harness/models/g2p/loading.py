"""Load a checkpoint folder with transformers' own code, in float32, and decode with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import T5ForConditionalGeneration

from harness.models.errors import BadCheckpoint
from harness.models.g2p.items import encode_prompt
from harness.models.timing import Call


def load_checkpoint(folder: Path) -> Any:
    """Return a ``T5ForConditionalGeneration`` in evaluation mode; raises BadCheckpoint if weights are missing."""
    t5, info = T5ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    if info["missing_keys"] or info["mismatched_keys"]:
        first = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])[0]
        raise BadCheckpoint(f"{folder} lacks weights that its configuration asks for, {first} first")
    return t5.eval()


@torch.inference_mode()
def greedy(t5: Any, input_ids: torch.Tensor, max_output_len: int, **more: Any) -> Any:
    """Return the result of ``generate`` for a prompt [1, tokens]; ``more`` is passed on to it."""
    return t5.generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_output_len,
        **more,
    )


def timed(request: dict[str, Any]) -> Callable[[dict[str, Any]], Call]:
    """Return the maker of calls for PyTorch's timing process: greedy decoding, as in the reference."""
    t5 = load_checkpoint(Path(request["checkpoint"]))

    def ready(item: dict[str, Any]) -> Call:
        prompt = torch.tensor([encode_prompt(item["language"], item["word"], space=item["prompt_space"])])
        return Call(lambda: greedy(t5, prompt, item["max_output_len"]), lambda ids: {"token_ids": ids[0, 1:].tolist()})

    return ready
