"""Define where the commands print to."""

from __future__ import annotations

from rich.console import Console

FILE_WIDTH = 120
"""Characters of a line when the output is no terminal and has no width of its own."""


def terminal() -> Console:
    """Return a console whose tables are whole in a file, too."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)
