"""The process that asks PyTorch: ``python -m harness.models.reference_worker`` (see :mod:`harness.worker`)."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

from harness.worker import Progress, serve

PROGRESS_SECONDS = 2.0


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Greedy decoding of every word: answers first, then latency, repetition by repetition over all words."""
    progress("loading PyTorch")
    import torch
    import transformers

    from harness.models.g2p.loading import load_checkpoint
    from harness.models.g2p.tokenizer import decode, encode_prompt

    options = request["options"]
    torch.set_num_threads(options["threads"])
    t5 = load_checkpoint(Path(request["checkpoint"]))
    greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": options["max_output_len"]}
    inputs = [
        torch.tensor([encode_prompt(w["language"], w["word"], space=options["prompt_space"])]) for w in request["words"]
    ]

    def generate(input_ids: Any, **more: Any) -> Any:
        with torch.inference_mode():
            return t5.generate(input_ids, attention_mask=torch.ones_like(input_ids), **greedy, **more)

    items: list[dict[str, Any]] = []
    reported = time.monotonic()
    for at, (word, input_ids) in enumerate(zip(request["words"], inputs, strict=True)):
        answer = generate(input_ids, output_logits=True, return_dict_in_generate=True)
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
                "latency_ns": [],
            }
        )
        if time.monotonic() - reported > PROGRESS_SECONDS:
            reported = time.monotonic()
            progress(f"PyTorch reference: {at + 1} of {len(inputs)} words")
    for repetition in range(-options["warmup"], options["repeat"]) if options["repeat"] else ():
        for item, input_ids in zip(items, inputs, strict=True):
            began = time.perf_counter_ns()
            generate(input_ids)
            taken = time.perf_counter_ns() - began
            if repetition >= 0:
                item["latency_ns"].append(taken)
        progress(f"PyTorch latency: {max(0, repetition + 1)} of {options['repeat']} repetitions")
    return {
        "items": items,
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__,
        "transformers_version": transformers.__version__,
        "cpu": request["cpu"],
    }


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
