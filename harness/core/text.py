"""Text that a device, a runner or a file brought, made fit to be shown: one function for every place where it leaves.

It is applied where text leaves for a person (a terminal, a log line, Markdown, a page, JUnit), not where it enters. So
what is stored is what was said, runs that were stored before are shown safely too, and a text is escaped once. JSON
has escapes of its own, which mean the same text again.
"""

from __future__ import annotations

import json
import re

MOST = 4000
"""Characters of one text. What is longer is data, and is in the run's files."""

_UNSHOWN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters: among them the escapes that a terminal obeys
    "\u202a-\u202e\u2066-\u2069"  # what lets text run the other way, or over the text behind it
    "\u2028\u2029\ufeff\ufff9-\ufffb\ufffe\uffff"  # line breaks and others that are not seen, or are no characters
    "\ud800-\udfff"  # halves of characters, which no file and no terminal can hold
    "\U000e0000-\U000e007f"  # letters that are not seen
    "]"
)


def shown(text: str, *, most: int = MOST) -> str:
    """The text with what would not be seen, but obeyed, spelt out (``\\x1b``), and cut where it is too long.

    Line breaks and tabs stay. So do joiners and marks that words of many languages need.
    """
    text = text.replace("\r\n", "\n")
    if len(text) > most:
        text = f"{text[:most]}… ({len(text) - most} more characters)"
    return _UNSHOWN.sub(_spelt, text)


def shown_line(text: str, *, most: int = MOST) -> str:
    """The same on one line."""
    return " ".join(shown(text, most=most).split("\n")).replace("\t", " ")


def shown_json(text: str) -> str:
    """A JSON text with the same characters spelt in JSON's way, so that it means what it meant."""
    return _UNSHOWN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def quoted(text: object, most: int = 80) -> str:
    """Return a name that somebody gave in quotation marks, cut where it is too long for a message."""
    name = str(text)
    return repr(name if len(name) <= most else f"{name[:most]}…")


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
