"""Get transformers' greedy decoding of prompts, with margins. Imports no PyTorch: a worker makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.core.cache import Cache, content_key, hash_sources
from harness.core.installation import package_version
from harness.core.progress import Progress
from harness.core.worker import run_worker

WORKER = "harness.models.language.reference_worker"
RESULT = "reference.json"
SOURCES = (
    *("reference_worker.py", "loading.py", "weights.py", "gguf.py", "gguf_model.py"),
    *("families.py", "config_keys.py", "description.py"),
)
MOST_TOP, LEAST_TOP, TOP_NUMBERS = 128, 8, 2_000_000
"""The most and the fewest tokens of a step whose probabilities are kept, and how many of a model's steps together."""
THREADS = 1
"""Answers are made on one thread: sums in another order may end in another digit."""


class GeneratedItem(BaseModel):
    """Hold the tokens that PyTorch chooses after a prompt, the best minus the second-best logit of each step, and the
    natural logarithm of the probability of each token that is fed: its choice, or a text's own token.

    ``top_tokens`` are the most probable tokens of each step, the most probable one first. ``top_logarithms`` are the
    natural logarithms of their probabilities, with that of all other tokens together last.
    """

    model_config = ConfigDict(frozen=True)

    token_ids: list[int]
    margins: list[float]
    log_probabilities: list[float]
    top_tokens: list[list[int]] = []
    top_logarithms: list[list[float]] = []


class GenerationReference(BaseModel):
    model_config = ConfigDict(frozen=True)

    items: list[GeneratedItem]
    torch_version: str
    transformers_version: str


def reference_outputs(
    model: Mapping[str, Any],
    prompts: Sequence[Sequence[int]],
    tokens: int,
    stops: Sequence[int] = (),
    following: Sequence[Sequence[int]] = (),
    *,
    cache: Cache,
    progress: Progress,
) -> GenerationReference:
    """Return the reference of these prompts, from the cache or made now.

    ``model`` has the ``config`` and the ``source`` of the weights, and their ``sha256``. ``tokens`` is how many follow
    each prompt at most, and ``stops`` are those that end a generation. With tokens ``following`` each prompt, these are
    fed: an item then has PyTorch's choice at each of them, and how probable each of them is.
    """
    here = Path(__file__).parent
    fields = {
        "weights": model["sha256"],
        "prompts": [list(prompt) for prompt in prompts],
        "tokens": tokens,
        "stops": list(stops),
        "following": [list(tokens) for tokens in following],
        "top": max(LEAST_TOP, min(MOST_TOP, TOP_NUMBERS // max(1, tokens * len(prompts)))),
        "torch": package_version("torch"),
        "transformers": package_version("transformers"),
        "sources": hash_sources([here / name for name in SOURCES], here),
    }

    def build(folder: Path) -> None:
        request = {"config": dict(model["config"]), "source": dict(model["source"]), "threads": THREADS}
        request |= {name: fields[name] for name in ("prompts", "tokens", "stops", "following", "top")}
        result = run_worker(WORKER, request, progress, threads=THREADS)
        reference = GenerationReference.model_validate(result)
        (folder / RESULT).write_text(reference.model_dump_json() + "\n", encoding="utf-8")

    folder = cache.fetch("references", content_key(fields), build)
    return GenerationReference.model_validate_json((folder / RESULT).read_bytes())
