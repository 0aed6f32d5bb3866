"""Define errors of models that cannot be compiled, and extract the readable part of a library's message."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from harness.core.errors import UsageError

MOST_CHARACTERS = 200
HEADING = "Constraints violated"
"""The heading of torch.export's list of violated constraints on dimensions."""


class CannotCompile(UsageError):
    """torch.export or TVM has no form for something in a model."""

    cure = "write that part of the model with other operators, or leave it out of the module and do it outside"


class UnsupportedOperator(CannotCompile):
    """TVM's importer lacks a torch operator, or fails in it."""


class NoSuchLayer(UsageError):
    """A pattern of ``--keep-wide`` matches no layer of the model."""


class BadExtension(UsageError):
    """A package offers an operator or an importer entry that cannot be used."""

    cure = "uninstall or mend the package; docs/contributing shows a whole operator and a whole importer entry"

    def __init__(self, entry: EntryPoint, why: str) -> None:
        super().__init__(f"{entry.name!r} of the entry points {entry.group} ({entry.value}) {why}")


def first_words(error: BaseException) -> str:
    """Return the first line of a library's message, shortened; after a mere heading, the line below it."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else type(error).__name__
    if len(lines) > 1 and first.startswith(HEADING):
        first = lines[1].strip().removeprefix("- ").partition(". ")[0]
    return first if len(first) <= MOST_CHARACTERS else f"{first[:MOST_CHARACTERS]}…"
