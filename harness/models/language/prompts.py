"""Make the prompts of a language model: token ids from a seed, or texts by its tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.core.errors import UsageError
from harness.models.language.description import Decoder
from harness.models.language.texts import Codec
from harness.models.options import ModelOption

PROMPTS = ModelOption(
    "--prompts",
    "prompts of language models that have a tokenizer.json: one on each line, or a JSON list of texts "
    "(default: three in English)",
    metavar="FILE",
    value=Path,
    commands=("suites",),
    picks_items=True,
)
LENGTHS = (16, 64, 128)
"""The lengths of seeded prompts, in tokens."""
SEED = 0
MOST_PROMPTS, MOST_FILE_BYTES, MOST_LABEL = 1000, 16 << 20, 40
SHIPPED = (
    "The three largest cities of the country are",
    "Dear Anna, thank you for the book about birds that you sent me last week. I have read half of it, and my "
    "favourite chapter so far is the one about swifts, which sleep while they fly. Yesterday I saw",
    "A phone runs a model in three steps. First, the app turns the user's text into numbers, which are called tokens: "
    "a token is a word, or a part of a longer word. Second, the model reads all tokens of the text together and keeps "
    "what it will need of them in a cache. Third, it gives one new token after the other, and each of them is read by "
    "the next step, until a special token ends the text or there is no more room. The second step is limited by how "
    "much the processor can compute, and the third one by how fast it can read the weights from memory. For this "
    "reason,",
)
"""Plain English of three lengths, for models whose tokenizer is known."""


@dataclass(frozen=True)
class Prompts:
    """Hold the prompts of a model in the order of its items."""

    tokens: dict[str, list[int]]
    """By item."""
    labels: dict[str, str]
    """What a person calls each of them."""
    source: str | None = None
    """``shipped`` or a file's name, of texts."""
    room: int = 0
    """The tokens of the longest prompt that the model has to have room for. A file's prompts do not make it smaller, so
    that a model that was compiled for them also takes the shipped ones."""
    following: dict[str, list[int]] = field(default_factory=dict)
    """By item the tokens that follow a prompt in a text, each of which has to be predicted; empty if none are known."""


def seeded_prompts(decoder: Decoder, tokens: int) -> Prompts:
    """Return prompts of token ids, as many as fit into the context before so many tokens."""
    drawn = np.random.Generator(np.random.PCG64(SEED))
    found = {f"{length}_tokens": drawn.integers(0, decoder.vocab_size, length).tolist() for length in LENGTHS}
    fitting = {item: prompt for item, prompt in found.items() if len(prompt) + tokens <= decoder.context}
    labels = {item: f"{len(prompt)} tokens" for item, prompt in fitting.items()}
    return Prompts(fitting, labels, room=max(map(len, fitting.values()), default=0))


def text_prompts(codec: Codec, decoder: Decoder, tokens: int, path: Path | None = None) -> Prompts:
    """Return the prompts of a file, or those of the shipped ones that fit into the context before so many tokens.

    Raises UsageError for a file that cannot be read, and for a prompt of it that is empty or does not fit.
    """
    texts = list(SHIPPED) if path is None else read_prompts(path)
    found = dict(zip(_names(texts), texts, strict=True))
    encoded = {item: codec.encode(text) for item, text in found.items()}
    if path is None:
        encoded = {item: ids for item, ids in encoded.items() if 0 < len(ids) <= decoder.context - tokens}
    for item, ids in encoded.items():
        if not ids:
            raise UsageError(f"the prompt {found[item][:40]!r} of {path} has no tokens", cure="leave it out")
        if len(ids) + tokens > decoder.context:
            raise UsageError(
                f"the prompt {item!r} of {path} has {len(ids)} tokens, and with {tokens} after them the model takes "
                f"{decoder.context}",
                cure="shorten it, or give a smaller --max-output-len",
            )
    labels = {item: _label(found[item]) for item in encoded}
    room = max(map(len, encoded.values()), default=0)
    if path is not None:
        room = max(room, text_prompts(codec, decoder, tokens).room)
    return Prompts(encoded, labels, "shipped" if path is None else path.name, room)


def read_prompts(path: Path) -> list[str]:
    """Return the texts of a file: a JSON list if its name ends in ``.json``, else its lines without empty ones.

    Raises UsageError.
    """
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise UsageError(f"{path} has more than {MOST_FILE_BYTES} bytes", cure="give fewer prompts")
        content = path.read_text(encoding="utf-8")
        texts = json.loads(content) if path.suffix == ".json" else [line for line in content.split("\n") if line]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="name a file of prompts") from error
    except ValueError as error:
        raise UsageError(f"{path} holds no prompts: {error}", cure="write text in UTF-8, or a JSON list") from error
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{path} is no list of texts", cure='write ["first prompt", "second prompt"]')
    if not texts or len(texts) > MOST_PROMPTS:
        raise UsageError(f"{path} has {len(texts)} prompts", cure=f"give 1 to {MOST_PROMPTS}")
    if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
        raise UsageError(f"{path} has half of a character (a lone surrogate)", cure="write the whole character")
    return texts


def _names(texts: Sequence[str]) -> Iterator[str]:
    """Yield a name for each text that no other has: its first words, for files and commands."""
    taken: set[str] = set()
    for at, text in enumerate(texts):
        words = re.findall(r"[a-z0-9]+", text[:200].lower())
        name = "_".join(words[:5])[:32].strip("_") or f"prompt_{at + 1}"
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique)
        yield unique


def _label(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_LABEL else f"{line[:MOST_LABEL].rstrip()}…"
