"""Print what commands print: data on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.documents.base import Document, to_json
from harness.core.errors import UsageError
from harness.core.text import shown, shown_line

STDOUT = Path("-")
LINE_WIDTH = 160
"""The width of tables in a pipe; rich would assume 80 columns and fold them."""


def terminal(width: int = LINE_WIDTH) -> Console:
    """Return the console of standard output. In a pipe the lines may be ``width`` characters long."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else width)


def print_json(document: Document) -> None:
    """Print the one document of a command that was called with ``--json``."""
    sys.stdout.write(to_json(document) + "\n")


def print_line(text: object) -> None:
    """Print one line of data."""
    sys.stdout.write(shown_line(str(text)) + "\n")


def note(text: str) -> None:
    """Print a message for the person that is not data."""
    sys.stderr.write(f"harness: {shown(text)}\n")
    sys.stderr.flush()


def cell(text: object, style: str = "") -> Text:
    """Return a table's cell; markup and control characters in the text have no effect."""
    return Text(shown(str(text)), style=style)


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[Text | str]], *, right: Iterable[str] = (), width: int = LINE_WIDTH
) -> None:
    """Print a table without lines; the columns named in ``right`` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(titles))
    for title in titles:
        table.add_column(cell(title), justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(one if isinstance(one, Text) else cell(one) for one in row))
    terminal(width).print(table)


def write_markdown(text: str, file: Path) -> None:
    """Append Markdown to a file, as GitHub's step summary needs it, or print it if the file is ``-``.

    Raises StorageFull or StorageUnwritable.
    """
    from harness.results.errors import writing

    if file == STDOUT:
        sys.stdout.write(text)
        return
    with writing(file), file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def exclusive(given: Mapping[str, object]) -> None:
    """Raise UsageError if more than one of these options was given."""
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other", cure="leave out all but one of them")


def renamed(old: str, new: str) -> None:
    """Warn about the former name of an option, which still works."""
    note(f"{old} is deprecated and will go away; it is called {new} now")


def traceback_wanted() -> bool:
    """Return whether an unexpected error shows where it happened."""
    return os.environ.get("HARNESS_TRACEBACK", "") not in ("", "0")
