"""Turn text into a language model's tokens and back, by Hugging Face's ``tokenizers`` and the model's own file.

Special tokens in a user's text are text: ``</s>`` in a prompt becomes the tokens of these four characters, and never
the token that ends a text. The tokens that the tokenizer itself puts around a text (``<s>``) stay. Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
MOST_BYTES = 1 << 27
"""The largest published files have about 35 MB."""


class BadTokenizer(UsageError):
    """A model's ``tokenizer.json`` cannot be read, or does not fit the model."""

    cure = "copy tokenizer.json from the same place as the weights, or remove it to run on token ids"


class Codec:
    """Encode prompts and decode answers with one ``tokenizer.json``.

    Raises BadTokenizer if the file cannot be read, or if one of its tokens is outside of the model's vocabulary of
    ``vocab_size``. A smaller vocabulary fits, since models pad theirs.
    """

    def __init__(self, path: Path, vocab_size: int) -> None:
        self.path = path
        names = self._tokenizer.get_vocab(with_added_tokens=True)
        if not names:
            raise BadTokenizer(f"{path} has no tokens")
        name, largest = max(names.items(), key=lambda one: one[1])
        if largest >= vocab_size:
            raise BadTokenizer(
                f"{path} is not of this model: it has the token {largest} ({name[:40]!r}), and the model's vocabulary "
                f"has {vocab_size}"
            )

    def _content(self) -> bytes:
        try:
            if self.path.stat().st_size > MOST_BYTES:
                raise BadTokenizer(f"{self.path} has more than {MOST_BYTES} bytes")
            return self.path.read_bytes()
        except OSError as error:
            raise BadTokenizer(f"{self.path} cannot be read: {error.strerror}") from error

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        try:
            found = Tokenizer.from_str(self._content().decode("utf-8"))
        except Exception as error:  # The library raises plain exceptions for whatever is wrong with a file.
            raise BadTokenizer(f"{self.path} is no tokenizer: {str(error)[:200]}") from error
        # A file may ask for either, for training; a prompt is whole and alone.
        found.no_truncation()
        found.no_padding()
        found.encode_special_tokens = True
        return found

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, with those that the tokenizer puts around it."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens, with special ones by their names.

        Bytes of a character that is not complete become U+FFFD, such as where a generation ends within one. A token
        that the tokenizer does not know, of those that pad a vocabulary, has no text.
        """
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)
