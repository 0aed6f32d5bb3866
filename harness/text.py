"""Text that was written elsewhere (words, device names, stored files), made fit for a terminal."""

from __future__ import annotations

import unicodedata

_ALLOWED = "\n\t"
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control, format (such as the marks that turn the direction of writing), surrogate and line
separator characters."""
_JOINERS = "\u200c\u200d"
"""Format characters that words of several languages need; they change nothing but the shape of letters."""


def printable(text: str, *, lines: bool = True) -> str:
    """Return the text with every control character written out as ``\\x1b``, ``\\u202e`` and so on.

    A terminal obeys such characters: they change colours and titles, move the cursor, or turn the direction of
    writing. ``lines``: keep line ends and tabulators.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char, lines) else _escaped(char) for char in text)


def quoted(text: object, most: int = 80) -> str:
    """Return a name that somebody gave in quotation marks, cut where it is too long for a message."""
    name = str(text)
    return repr(name if len(name) <= most else f"{name[:most]}…")


def _harmless(char: str, lines: bool) -> bool:
    if char in _ALLOWED:
        return lines
    return char in _JOINERS or unicodedata.category(char) not in _HIDDEN


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
