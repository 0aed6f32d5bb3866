"""Implement ByT5's tokenization: a token is a byte plus three (0 pad, 1 end, 2 unknown)."""

from __future__ import annotations

from collections.abc import Iterable

PAD_ID = 0
EOS_ID = 1
UNK_ID = 2
BYTE_OFFSET = 3
FIRST_EXTRA_ID = 256 + BYTE_OFFSET
VOCABULARY_SIZE = 384
"""256 bytes, three special tokens and 125 sentinels that no prompt uses."""


def encode(text: str) -> list[int]:
    """Return the ids of the text's UTF-8 bytes, without an end token, as in CharsiuG2P's training format."""
    return [byte + BYTE_OFFSET for byte in text.encode()]


def decode(ids: Iterable[int]) -> str:
    """Return the text of the ids up to the first end token; special ids and incomplete UTF-8 are dropped."""
    data = bytearray()
    for token in ids:
        if token == EOS_ID:
            break
        if BYTE_OFFSET <= token < FIRST_EXTRA_ID:
            data.append(token - BYTE_OFFSET)
    return data.decode("utf-8", errors="ignore")
