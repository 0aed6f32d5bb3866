"""Words as a runner takes them: the prompt, with the word and its language for who reads the result."""

from __future__ import annotations

from harness.models.g2p.tokenizer import prompt
from harness.protocol.schema import WorkItem

WORKLOAD = "g2p"
"""What orders and results call the model."""


def word_item(item: str, language: str, word: str, *, workload: str = WORKLOAD, space: bool = True) -> WorkItem:
    """Return the item of an order that runs a word. ``space``: whether the model's prompts have one behind the colon.

    The language and the word are taken as they are: :func:`harness.models.words.check_words` checks them.
    """
    return WorkItem(id=item, workload=workload, input=prompt(language, word, space=space), label=word, subset=language)
