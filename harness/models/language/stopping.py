"""Find the tokens that end a model's generations, and cut answers there.

The tokens are those of transformers' own ``generate``: ``eos_token_id`` of ``generation_config.json``, or of
``config.json`` if that file does not exist. Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.models.language.config_keys import UnknownPart, read_config
from harness.protocol.schema import Ended, Output

FILE, KEY = "generation_config.json", "eos_token_id"
MOST = 64
"""The most tokens that may end a generation. Models have one to five."""


def stop_tokens(folder: Path, config: Mapping[str, Any], vocab_size: int) -> tuple[int, ...]:
    """Return the ids that end a generation, in ascending order; empty if none does.

    An id outside the vocabulary is left out, since no step can choose it. Raises UnknownPart for a file that cannot be
    read, and for ids that are none.
    """
    path = folder / FILE
    exists = path.exists()
    found = (read_config(path) if exists else config).get(KEY)
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if len(ids) > MOST or any(isinstance(one, bool) or not isinstance(one, int) for one in ids):
        place = FILE if exists else "config.json"
        raise UnknownPart(f"{KEY} in {place} is {str(found)[:60]}", cure=f"give one id, or a list of up to {MOST}")
    return tuple(sorted({one for one in ids if 0 <= one < vocab_size}))


def ended(token_ids: Sequence[int], stops: Sequence[int]) -> Ended:
    """Return why a generation ended that may end at these tokens."""
    return "stop_token" if token_ids and token_ids[-1] in stops else "length"


def until_stop(token_ids: Sequence[int], stops: Sequence[int]) -> int:
    """Return how many tokens there are with the first stop token; all if there is none."""
    return next((at + 1 for at, token in enumerate(token_ids) if token in stops), len(token_ids))


def cut(output: Output, stops: Sequence[int]) -> Output:
    """Return the output of a generation that ran on as if its first stop token had ended it."""
    kept = until_stop(output.token_ids, stops)
    tokens, margins = output.token_ids[:kept], None if output.margins is None else output.margins[:kept]
    return output.model_copy(update={"token_ids": tokens, "margins": margins, "ended": ended(tokens, stops)})
