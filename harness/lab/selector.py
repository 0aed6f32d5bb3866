"""Choose phones by their labels, as in ``soc=sm8650 and os>=15``. The text is parsed and never evaluated.

::

    selector   = and { "or" and }
    and        = not { "and" not }
    not        = "not" not | "(" selector ")" | name | label operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">="

A value is a word or is in quotation marks. Words are compared without regard to case. ``<`` and its relatives
compare numbers with dots, part by part, so ``os>=15`` takes 15.1 and 16. A label with several values, such as
``features``, is equal to each of them. A comparison of a label that the phone lacks is false, also with ``!=``.
A name alone is a phone's name, its serial or its host; ``all`` is every phone.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.core.text import quoted
from harness.lab.errors import BadSelector

Value = str | int | float | bool | Sequence[str]
Labels = Mapping[str, Value]
"""What is known of a phone, by name."""
Matches = Callable[[Labels], bool]

MOST_CHARACTERS = 1000
MOST_DEPTH = 20
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<quoted>"[^"]*"|'[^']*')
    | (?P<operator><=|>=|!=|=|<|>)
    | (?P<bracket>[()])
    | (?P<word>[\w./:@+*-]+)
    )""",
    re.VERBOSE,
)
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9}){0,4}")
_NAMES = ("name", "serial", "host")
_ORDERED: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Selector:
    """Hold a parsed selector."""

    text: str
    matches: Matches


def parse_selector(text: str) -> Selector:
    """Parse a selector; raises BadSelector naming the place that is wrong."""
    return Selector(text, _Parser(text).parse())


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise BadSelector(f"a selector has at most {MOST_CHARACTERS} characters, this one has {len(text)}")
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def parse(self) -> Matches:
        found = self._either()
        if (left := self._next()) is not None:
            raise BadSelector(f"{quoted(left[1])} stands where the selector should have ended")
        return found

    def _next(self) -> tuple[str, str] | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, kind: str, *texts: str) -> str | None:
        """Take the next token if it is of that kind and, for a word, one of these."""
        token = self._next()
        if token is None or token[0] != kind or (texts and token[1].lower() not in texts):
            return None
        self._at += 1
        return token[1]

    def _either(self) -> Matches:
        parts = [self._both()]
        while self._take("word", "or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda labels: any(part(labels) for part in parts)

    def _both(self) -> Matches:
        parts = [self._single()]
        while self._take("word", "and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else lambda labels: all(part(labels) for part in parts)

    def _single(self) -> Matches:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise BadSelector(f"a selector has at most {MOST_DEPTH} brackets and negations inside each other")
        try:
            if self._take("word", "not"):
                inner = self._single()
                return lambda labels: not inner(labels)
            if self._take("bracket", "("):
                found = self._either()
                if not self._take("bracket", ")"):
                    raise BadSelector("a bracket is not closed")
                return found
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Matches:
        token = self._next()
        if token is None:
            raise BadSelector("a label or a name is missing at the end")
        if token[0] not in ("word", "quoted") or token[1].lower() in ("and", "or"):
            raise BadSelector(f"{quoted(token[1])} stands where a label or a name belongs")
        self._at += 1
        sign = self._take("operator")
        if sign is None:
            return _named(token[1])
        if token[0] == "quoted" or not _LABEL.fullmatch(token[1]):
            raise BadSelector(f"{quoted(token[1])} is no label's name")
        value = self._take("word") or self._take("quoted")
        if value is None:
            raise BadSelector(f"a value is missing after {token[1]}{sign}")
        return _compared(token[1].lower(), sign, value)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadSelector(f"{quoted(text[at:].strip())} is not understood")
        kind = str(match.lastgroup)
        found.append((kind, match[kind][1:-1] if kind == "quoted" else match[kind]))
        at = match.end()
    return found


def _named(name: str) -> Matches:
    if name.lower() == "all":
        return lambda _labels: True
    return lambda labels: any(str(labels.get(key, "")).lower() == name.lower() for key in _NAMES)


def _compared(label: str, sign: str, value: str) -> Matches:
    if sign in _ORDERED:
        wanted = _parts(value)
        if wanted is None:
            raise BadSelector(f"{label}{sign} compares numbers, and {quoted(value)} is none")
        compare = _ORDERED[sign]

        def ordered(labels: Labels) -> bool:
            has = (
                _parts(_text(labels[label]))
                if label in labels and isinstance(labels[label], str | int | float)
                else None
            )
            if has is None:
                return False
            size = max(len(has), len(wanted))
            return compare(_padded(has, size), _padded(wanted, size))

        return ordered

    def equal(labels: Labels) -> bool:
        if label not in labels:
            return False
        has = labels[label]
        several = [_text(has)] if isinstance(has, str | int | float) else list(has)
        return any(_same(one, value) for one in several) is (sign == "=")

    return equal


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _parts(text: str) -> tuple[int, ...] | None:
    return tuple(int(part) for part in text.split(".")) if _NUMBER.fullmatch(text) else None


def _padded(parts: tuple[int, ...], size: int) -> tuple[int, ...]:
    return (*parts, *(0,) * (size - len(parts)))
