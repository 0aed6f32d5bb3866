"""Make text from a device, a runner or a file safe to show.

The functions are applied where text leaves for a person (a terminal, a log line, Markdown, a page, JUnit), not where it
enters. So the original text is stored, older runs are shown safely too, and a text is escaped once. JSON has escapes
of its own, which decode to the same text.
"""

from __future__ import annotations

import re

MOST = 4000
"""The most characters of one text. Longer text is data, and is in the run's files."""

_UNSHOWN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, among them a terminal's escapes
    "\u202a-\u202e\u2066-\u2069"  # marks that change the direction of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\ufffe\uffff"  # unusual line breaks, invisible marks and non-characters
    "\ud800-\udfff"  # surrogates, which no file and no terminal can hold
    "\U000e0000-\U000e007f"  # invisible letters
    "]"
)


def shown(text: str, *, most: int = MOST) -> str:
    """Return the text with control and invisible characters spelt out (``\\x1b``), cut after ``most`` characters.

    Line breaks and tabs stay. Joiners and marks stay too, because words of many languages need them.
    """
    text = text.replace("\r\n", "\n")
    if len(text) > most:
        text = f"{text[:most]}… ({len(text) - most} more characters)"
    return _UNSHOWN.sub(_spelt, text)


def shown_line(text: str, *, most: int = MOST) -> str:
    """Return the same as :func:`shown`, on one line."""
    return " ".join(shown(text, most=most).split("\n")).replace("\t", " ")


def quoted(text: object, most: int = 80) -> str:
    """Return a user's name for something in quotation marks, cut after ``most`` characters."""
    name = str(text)
    return repr(name if len(name) <= most else f"{name[:most]}…")


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
