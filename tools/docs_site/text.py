"""Bring text of the code into Markdown: help texts, docstrings and names."""

from __future__ import annotations

import inspect
import posixpath
import re

_PAGE = re.compile(r"\bdocs/([\w/-]+\.md)\b")
_ROLE = re.compile(r":(?:class|func|mod|meth|data):`~?([^`]+)`")
_CODE = re.compile(r"(`+[^`]+`+)")


def plain(text: str, page: str) -> str:
    """Return one line of Markdown for a help text or a docstring on the page with this path in docs.

    What is no code is escaped, and the names of pages become links.
    """
    return "".join(_piece(piece, page) for piece in _CODE.split(" ".join(text.split())))


def paragraphs(text: str, page: str) -> list[str]:
    """Return the paragraphs of a docstring, each on one line."""
    return [plain(_ROLE.sub(r"``\1``", one), page) for one in inspect.cleandoc(text).split("\n\n")]


def sentence(text: str, page: str) -> str:
    """Return a help text as a sentence: help texts begin small and end without a stop."""
    found = plain(text, page)
    return f"{found[:1].upper()}{found[1:]}{'' if found.endswith('.') else '.'}"


def code(text: str) -> str:
    """Return text as code, whatever is in it."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def link(target: str, page: str) -> str:
    """Return the path from one page in docs to another."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def _piece(piece: str, page: str) -> str:
    if piece.startswith("`"):
        return piece.replace("``", "`")
    escaped = re.sub(r"([\\*_\[\]<>|])", r"\\\1", piece)
    return _PAGE.sub(lambda found: f"[{found[1]}]({link(found[1], page)})", escaped)
