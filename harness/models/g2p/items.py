"""Make a runner's items from words: the prompt, with the word and its language for readers of the result."""

from __future__ import annotations

from harness.models.tokenizer import encode
from harness.protocol.schema import WorkItem

WORKLOAD = "g2p"
"""The model's name in orders and results."""


def prompt(language: str, word: str, *, space: bool = True) -> str:
    """Return CharsiuG2P's input ``<eng-us>: word``; the space belongs to its training format."""
    return f"<{language}>:{' ' if space else ''}{word}"


def encode_prompt(language: str, word: str, *, space: bool = True) -> list[int]:
    """Return the tokens of a word's prompt."""
    return encode(prompt(language, word, space=space))


def word_item(item: str, language: str, word: str, *, workload: str = WORKLOAD, space: bool = True) -> WorkItem:
    """Return the item of an order that runs a word.

    ``space``: whether the model's prompts have a space after the colon. The language and the word are not checked here,
    but by :func:`harness.models.g2p.word_list.check_words`.
    """
    return WorkItem(id=item, workload=workload, input=prompt(language, word, space=space), label=word, subset=language)
